#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/dataset.h"
#include "src/base/file.h"
#include "src/base/outfile.h"

/* A fresh folder with pictures (empty files: nothing here decodes them) and a link that leads out.
 */
static int make_folder(void **state)
{
    static char folder[64];
    snprintf(folder, sizeof folder, "/tmp/vlmp-dataset-XXXXXX");
    if (mkdtemp(folder) == NULL || chdir(folder) != 0) return -1;
    vlmp_error err = {0};
    mkdir("pics", 0777);
    mkdir("none", 0777);
    const char *names[] = {"a.png",      "b.JPG",           "pics/c.jpeg",
                           "pics/d.png", "pics/readme.txt", "pics/.hidden.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (vlmp_file_write(names[i], "", 0, false, &err) != 0) return -1;
    *state = folder;
    return symlink("/etc/hostname", "out.png") + symlink("a.png", "in.png");
}

static int remove_folder(void **state)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", (char *)*state);
    return chdir("/") != 0 || system(command) != 0;
}

/* Opens a file with this text. */
static int open_text(vlmp_dataset **data, const char *name, const char *text, const char *root,
                     vlmp_error *err)
{
    *err = (vlmp_error){0};
    assert_int_equal(vlmp_file_write(name, text, strlen(text), true, err), 0);
    return vlmp_dataset_open(data, name, root, err);
}

/* Opens it and reads every record; the first fault. */
static int read_text(const char *name, const char *text, const char *root, vlmp_error *err)
{
    vlmp_dataset *data;
    int status = open_text(&data, name, text, root, err);
    for (size_t i = 0; status == VLMP_OK && i < vlmp_dataset_count(data); i++) {
        vlmp_sample sample;
        status = vlmp_dataset_sample(data, i, &sample, err);
        if (status != VLMP_OK) assert_null(sample.arena.head);
        vlmp_sample_free(&sample);
    }
    vlmp_dataset_close(data);
    return status;
}

static vlmp_sample sample_at(const vlmp_dataset *data, size_t index)
{
    vlmp_sample sample;
    vlmp_error err = {0};
    if (vlmp_dataset_sample(data, index, &sample, &err) != VLMP_OK) fail_msg("%s", err.message);
    return sample;
}

/* The turn's parts, pictures as '*', joined by '|'. */
static void turn_is(const vlmp_sample *sample, int turn, const char *role, const char *want)
{
    char got[256] = "";
    assert_in_range(turn, 0, sample->turn_count - 1);
    const vlmp_chat_message *message = &sample->turns[turn];
    assert_string_equal(message->role, role);
    for (size_t i = 0; i < message->part_count; i++) {
        strcat(got, i > 0 ? "|" : "");
        strcat(got, message->parts[i] != VLMP_CHAT_PICTURE ? message->parts[i] : "*");
    }
    assert_string_equal(got, want);
}

static void reads_jsonl(void **state)
{
    (void)state;
    vlmp_dataset *data;
    vlmp_error err;
    assert_int_equal(
        open_text(&data, "x.jsonl",
                  "{\"image\":\"a.png\",\"prompt\":\"What?\",\"answers\":[\"one\",\"two\"]}\r\n"
                  "\n"
                  "{\"image\":[\"pics/c.jpeg\",\"in.png\"],\"prompt\":\"Both?\",\"id\":7}\n"
                  "{\"prompt\":\"No picture, \\u00e9\",\"answers\":[]}\n"
                  " \t\r\n"
                  "{\"image\":null,\"videos\":[],\"video\":\"\",\"prompt\":\"p\"}\n"
                  "{\"image\":\"gone.png\",\"prompt\":\"p\"}",
                  NULL, &err),
        0);
    assert_int_equal(vlmp_dataset_count(data), 5);
    vlmp_sample s = sample_at(data, 0);
    assert_string_equal(s.answers[1], "two");
    assert_int_equal(s.answer_count, 2);
    assert_string_equal(s.image_names[0], "a.png");
    assert_string_equal(s.where, "x.jsonl:1");
    assert_int_equal(access(s.images[0], R_OK), 0);
    turn_is(&s, 0, "user", "*|What?");
    vlmp_sample_free(&s);
    s = sample_at(data, 1);
    assert_int_equal(s.image_count, 2);
    assert_string_equal(s.image_names[1], "in.png");
    turn_is(&s, 0, "user", "*|*|Both?");
    vlmp_sample_free(&s);
    s = sample_at(data, 2);
    assert_int_equal(s.line, 4);
    turn_is(&s, 0, "user", "No picture, é");
    vlmp_sample_free(&s);
    s = sample_at(data, 3);
    assert_int_equal(s.image_count, 0);
    assert_string_equal(s.where, "x.jsonl:6");
    vlmp_sample_free(&s);
    s = sample_at(data, 4);
    assert_int_equal(s.image_count, 1);
    vlmp_sample_free(&s);
    vlmp_dataset_close(data);
}

#define TURN(from, value) "{\"from\":\"" from "\",\"value\":\"" value "\"}"
#define TWO_EXCHANGES                      \
    TURN("human", "<image>\\nWhat is it?") \
    "," TURN("gpt", "A cat.") "," TURN("human", "Sure?") "," TURN("gpt", "Yes.")
#define GREETING TURN("human", "Hi")
#define LATE_PICTURES                                              \
    TURN("system", "Be brief.")                                    \
    "," TURN("human", "Tell me.") "," TURN("gpt", "No.") "," TURN( \
        "user", " Is <image> like <image>?\\n") "," TURN("assistant", "It is.")
#define NO_MARKS    TURN("human", "Both?")
#define MARK_BEHIND TURN("human", "Describe.\\n<image>\\n")

static void reads_llava(void **state)
{
    (void)state;
    vlmp_dataset *data;
    vlmp_error err;
    const char *text = "[{\"image\":\"a.png\",\"conversations\":[" TWO_EXCHANGES "]},\n"
                       "{\"conversations\":[" GREETING "]},"
                       "{\"image\":[\"a.png\",\"in.png\"],\"conversations\":[" LATE_PICTURES "]},"
                       "{\"image\":[\"a.png\",\"in.png\"],\"conversations\":[" NO_MARKS "]},"
                       "{\"image\":\"a.png\",\"conversations\":[" MARK_BEHIND "]}]";
    assert_int_equal(open_text(&data, "x.json", text, NULL, &err), 0);
    assert_int_equal(vlmp_dataset_count(data), 5);
    vlmp_sample s = sample_at(data, 0);
    assert_int_equal(s.turn_count, 3);
    turn_is(&s, 0, "user", "*|What is it?");
    turn_is(&s, 1, "assistant", "A cat.");
    turn_is(&s, 2, "user", "Sure?");
    assert_int_equal(s.answer_count, 1);
    assert_string_equal(s.answers[0], "Yes.");
    vlmp_sample_free(&s);
    s = sample_at(data, 1);
    assert_int_equal(s.answer_count, 0);
    assert_string_equal(s.where, "x.json: entry 2");
    vlmp_sample_free(&s);
    s = sample_at(data, 2);
    assert_int_equal(s.turn_count, 4);
    turn_is(&s, 0, "system", "Be brief.");
    turn_is(&s, 1, "user", "Tell me.");
    turn_is(&s, 3, "user", "Is |*| like |*|?");
    assert_string_equal(s.answers[0], "It is.");
    vlmp_sample_free(&s);
    s = sample_at(data, 3);
    turn_is(&s, 0, "user", "*|*|Both?");
    vlmp_sample_free(&s);
    s = sample_at(data, 4);
    turn_is(&s, 0, "user", "Describe.|*");
    vlmp_sample_free(&s);
    vlmp_dataset_close(data);
}

#define COCO(annotations)                                                                     \
    "{\n\"images\":[{\"id\":9,\"file_name\":\"c.jpeg\"},{\"id\":2,\"file_name\":\"d.png\"}]," \
    "\"annotations\":[" annotations "]}"

static void reads_coco(void **state)
{
    (void)state;
    vlmp_dataset *data;
    vlmp_error err;
    const char *text = COCO("{\"image_id\":2,\"caption\":\"first\"},"
                            "{\"image_id\":9,\"caption\":\"other\"},"
                            "{\"image_id\":5,\"caption\":\"of no picture\"},"
                            "{\"image_id\":2,\"caption\":\"second\"}");
    assert_int_equal(open_text(&data, "coco.json", text, "pics", &err), 0);
    assert_int_equal(vlmp_dataset_count(data), 3);
    vlmp_sample s = sample_at(data, 0);
    assert_string_equal(s.image_names[0], "c.jpeg");
    assert_int_equal(s.answer_count, 1);
    vlmp_sample_free(&s);
    s = sample_at(data, 1);
    assert_string_equal(s.answers[0], "first");
    assert_string_equal(s.answers[1], "second");
    assert_int_equal(s.answer_count, 2);
    turn_is(&s, 0, "user", "*|Describe the picture.");
    vlmp_sample_free(&s);
    assert_int_equal(vlmp_dataset_sample(data, 2, &s, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "annotations, entry 3"));
    assert_int_equal(s.line, 3);
    vlmp_dataset_close(data);
    assert_int_equal(open_text(&data, "coco.json", text, NULL, &err), VLMP_ERR_USAGE);
    assert_non_null(strstr(err.message, "--image-root"));
}

static void reads_folders(void **state)
{
    (void)state;
    vlmp_dataset *data;
    vlmp_error err = {0};
    assert_int_equal(vlmp_dataset_open(&data, "pics", NULL, &err), 0);
    assert_int_equal(vlmp_dataset_count(data), 2);
    vlmp_sample s = sample_at(data, 0);
    assert_string_equal(s.image_names[0], "c.jpeg");
    assert_string_equal(s.where, "pics/c.jpeg");
    assert_int_equal(s.answer_count, 0);
    vlmp_sample_free(&s);
    s = sample_at(data, 1);
    assert_string_equal(s.image_names[0], "d.png");
    vlmp_sample_free(&s);
    vlmp_dataset_close(data);
    assert_int_equal(vlmp_dataset_open(&data, "none", NULL, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "without PNG, JPEG or WebP"));
}

/* A hub cache: pictures are links from a snapshot into the data set's own blobs. */
static void reads_a_hub_cache(void **state)
{
    (void)state;
    const char *const commands[] = {
        "mkdir -p hub/datasets--o--n/snapshots/1/deep/er hub/datasets--o--n/blobs hub/other/blobs",
        "cp a.png hub/datasets--o--n/blobs/f00; cp a.png hub/other/blobs/f00",
        "cd hub/datasets--o--n/snapshots/1 && ln -s ../../blobs/f00 a.png && "
        "ln -s ../../../../blobs/f00 deep/er/b.png && ln -s ../../../other/blobs/f00 bad.png && "
        "ln -s ../../../../a.png out.png",
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        assert_int_equal(system(commands[i]), 0);
    static const struct {
        const char *folder, *name;
        bool good;
    } rows[] = {
        {"hub/datasets--o--n/snapshots/1", "a.png", true},
        {"hub/datasets--o--n/snapshots/1", "deep/er/b.png", true},
        {"hub/datasets--o--n/snapshots/1/deep", "er/b.png", true},
        {"hub/datasets--o--n/snapshots/1", "bad.png", false},
        {"hub/datasets--o--n/snapshots/1", "out.png", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128], path[128];
        vlmp_error err;
        snprintf(text, sizeof text, "{\"image\":\"%s\",\"prompt\":\"p\"}", rows[i].name);
        snprintf(path, sizeof path, "%s/x.jsonl", rows[i].folder);
        assert_int_equal(read_text(path, text, NULL, &err),
                         rows[i].good ? VLMP_OK : VLMP_ERR_INPUT);
        if (!rows[i].good) assert_non_null(strstr(err.message, "through a link"));
    }
}

static const struct {
    const char *name, *text, *says;
} refused[] = {
    {"e.jsonl", "", "e.jsonl: empty"},
    {"e.jsonl", "\n \t\r\n\n", "e.jsonl: only blank lines"},
    {"e.jsonl", "{\"prompt\":\"p\"}\n{\"prompt\":\n", "e.jsonl:2: byte"},
    {"e.jsonl", "{\"prompt\":\"p\"}\n{\"prompt\":\"p\"} {}\n", "e.jsonl:2: byte 15: text after"},
    {"e.jsonl", "[]\n", "e.jsonl:1: not a JSON object"},
    {"e.jsonl", "{\"prompt\":\"a\",\"prompt\":\"b\"}\n",
     "e.jsonl:1: the key 'prompt' appears twice"},
    {"e.jsonl", "{\"prompt\":\"\xff\"}\n", "e.jsonl:1: byte 11: not valid UTF-8"},
    {"e.jsonl", "{\"image\":\"a.png\"}\n", "e.jsonl:1: 'prompt' is missing"},
    {"e.jsonl", "{\"prompt\":3}\n", "'prompt' is not a string"},
    {"e.jsonl", "{\"prompt\":\" \"}\n", "'prompt' is empty"},
    {"e.jsonl", "{\"prompt\":\"<image>\\nWhat?\"}\n", "'prompt' contains '<image>'"},
    {"e.jsonl", "{\"prompt\":\"p\",\"answers\":\"a\"}\n", "'answers' is not a list"},
    {"e.jsonl", "{\"prompt\":\"p\",\"answers\":[1]}\n", "'answers' holds something"},
    {"e.jsonl", "{\"prompt\":\"p\",\"answers\":[\"\"]}\n", "an answer is empty"},
    {"e.jsonl", "{\"prompt\":\"p\",\"answer\":\"a\"}\n",
     "unknown key 'answer'; did you mean 'answers'?"},
    {"e.jsonl", "{\"prompt\":\"p\",\"video\":\"a.mp4\"}\n", "e.jsonl:1: the record has a 'video'"},
    {"e.json",
     "[{\"image\":\"a.png\",\"videos\":[\"a.mp4\"],\"conversations\":[" TURN("human", "a") "]}]",
     "entry 1: the record has a 'videos'"},
    {"e.jsonl", "{\"prompt\":\"p\",\"images\":[\"a.png\"]}\n", "did you mean 'image'?"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":{}}\n", "'image' is neither a string nor a list"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":[1]}\n", "'image' holds something"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"\"}\n", "the picture's name is empty"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"/etc/hostname\"}\n", "absolute paths are refused"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"pics/../../x.png\"}\n",
     "e.jsonl:1: picture 'pics/../../x.png' leaves the folder"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"..\"}\n", "leaves the folder"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"out.png\"}\n", "leaves the folder through a link"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"HTTPS://x.org/a.png\"}\n", "is a URL"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"file:///a.png\"}\n", "is a URL"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"data:image/png;base64,iVBO\"}\n",
     "a data URI ('data:image/png;base64…')"},
    {"e.json", "[]", "e.json: an empty list"},
    {"e.json", "[{\"image\":\"a.png\"}]", "entry 1: no 'conversations'"},
    {"e.json", "[{\"conversations\":[]}]", "no turn from 'human'"},
    {"e.json", "[{\"conversations\":[{\"from\":\"human\",\"value\":\"<image>\\nx\"}]}]",
     "1 times '<image>' but 0 pictures"},
    {"e.json",
     "[{\"image\":\"a.png\",\"conversations\":[{\"from\":\"human\",\"value\":\"<image>\\n\"}]}]",
     "has no text"},
    {"e.json", "[{\"conversations\":[" TURN("gpt", "a") "]}]", "no human turn is before it"},
    {"e.json", "[{\"conversations\":[" TURN("tool", "a") "]}]", "turn 1 is 'from' nobody known"},
    {"e.json", "[{\"conversations\":[" TURN("human", "a") "," TURN("gpt", " ") "]}]",
     "the answer is empty"},
    {"e.json", "[{\"conversations\":[" TURN("human", "a") "," TURN("gpt", "see <image>") "]}]",
     "entry 1: '<image>' in a turn of the assistant"},
    {"e.json",
     "[{\"image\":[\"a.png\",\"in.png\"],\"conversations\":[" TURN("human", "<image> a") "]}]",
     "1 times '<image>' but 2 pictures"},
    {"e.json",
     "[{\"conversations\":[" TURN("human", "a") "," TURN("gpt", "b") "," TURN("human", "c") "]}]",
     "the last turn has no answer"},
    {"e.json", "{\n\"x\": 1}", "neither JSONL, nor"},
    {"e.json", "{\n", "e.json: line 2, byte 2"},
    {"e.json", "[{\"a\":1} {\"b\":2}]", "e.json: line 1, byte 9"},
    {"e.json", "[{\"a\":[1}]", "e.json: line 1, byte 8"},
    {"e.json", "[{}] x", "text after"},
};

static const struct {
    const char *text, *says;
} refused_coco[] = {
    {COCO("{\"image_id\":3,\"caption\":\"c\"}"), "annotations, entry 1: 'image_id' is missing or"},
    {COCO("{\"caption\":\"c\"}"), "'image_id' is missing or"},
    {COCO("{\"image_id\":2}"), "annotations, entry 1: no 'caption'"},
    {"{\n\"images\":[{\"id\":1,\"file_name\":\"c.jpeg\"},{\"id\":1,\"file_name\":\"d.png\"}],"
     "\"annotations\":[]}",
     "the id 1 appears twice"},
    {"{\n\"images\":[{\"id\":1}],\"annotations\":[]}", "images, entry 1: no 'file_name'"},
    {"{\n\"images\":[{\"id\":1.5,\"file_name\":\"x\"}],\"annotations\":[]}",
     "'id' is not an integer"},
    {"{\n\"images\":[],\"annotations\":[]}", "or empty"},
};

static void refuses(void **state)
{
    (void)state;
    vlmp_dataset *data;
    vlmp_error err;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(read_text(refused[i].name, refused[i].text, NULL, &err), VLMP_ERR_INPUT);
        if (strstr(err.message, refused[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, refused[i].says);
    }
    for (size_t i = 0; i < sizeof refused_coco / sizeof *refused_coco; i++) {
        assert_int_equal(read_text("c.json", refused_coco[i].text, "pics", &err), VLMP_ERR_INPUT);
        if (strstr(err.message, refused_coco[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, refused_coco[i].says);
    }
    err = (vlmp_error){0};
    assert_int_equal(vlmp_dataset_open(&data, "absent.jsonl", NULL, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_dataset_open(&data, "e.jsonl", "absent", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "absent: no such folder of pictures"));
}

/* A line of 64 MB (a sparse file) costs one record and no memory, and the next one is read. */
static void long_lines_are_not_read(void **state)
{
    (void)state;
    static const char line[] = "\n{\"prompt\":\"p\"}\n";
    vlmp_error err = {0};
    vlmp_dataset *data;
    vlmp_sample sample;
    FILE *file = fopen("long.jsonl", "w");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)64 << 20, SEEK_SET), 0);
    assert_int_equal(fwrite(line, 1, sizeof line - 1, file), sizeof line - 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(vlmp_dataset_open(&data, "long.jsonl", NULL, &err), 0);
    assert_int_equal(vlmp_dataset_count(data), 2);
    assert_int_equal(vlmp_dataset_sample(data, 0, &sample, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "long.jsonl:1: longer than 16 MiB"));
    sample = sample_at(data, 1);
    assert_int_equal(sample.line, 2);
    vlmp_sample_free(&sample);
    vlmp_dataset_close(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_jsonl),       cmocka_unit_test(reads_llava),
        cmocka_unit_test(reads_coco),        cmocka_unit_test(reads_folders),
        cmocka_unit_test(reads_a_hub_cache), cmocka_unit_test(long_lines_are_not_read),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
