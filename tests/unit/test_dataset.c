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

static int read_text(vlmp_dataset *data, const char *name, const char *text, const char *root,
                     vlmp_error *err)
{
    *err = (vlmp_error){0};
    assert_int_equal(vlmp_file_write(name, text, strlen(text), true, err), 0);
    return vlmp_dataset_read(data, name, root, err);
}

static void reads_jsonl(void **state)
{
    (void)state;
    vlmp_dataset data;
    vlmp_error err;
    assert_int_equal(
        read_text(&data, "x.jsonl",
                  "{\"image\":\"a.png\",\"prompt\":\"What?\",\"answers\":[\"one\",\"two\"]}\r\n"
                  "{\"image\":[\"pics/c.jpeg\",\"in.png\"],\"prompt\":\"Both?\",\"id\":7}\n"
                  "{\"prompt\":\"No picture, \\u00e9\",\"answers\":[]}\n"
                  "{\"image\":null,\"prompt\":\"p\"}\n"
                  "{\"image\":\"gone.png\",\"prompt\":\"p\"}",
                  NULL, &err),
        0);
    assert_int_equal(data.count, 5);
    assert_string_equal(data.samples[0].answers[1], "two");
    assert_int_equal(data.samples[0].answer_count, 2);
    assert_string_equal(data.samples[0].image_names[0], "a.png");
    assert_int_equal(access(data.samples[0].images[0], R_OK), 0);
    assert_int_equal(data.samples[1].image_count, 2);
    assert_string_equal(data.samples[1].image_names[1], "in.png");
    assert_int_equal(data.samples[2].line, 3);
    assert_string_equal(data.samples[2].prompt, "No picture, é");
    assert_int_equal(data.samples[3].image_count, 0);
    assert_int_equal(data.samples[4].image_count, 1);
    vlmp_dataset_free(&data);
}

static void reads_llava(void **state)
{
    (void)state;
    vlmp_dataset data;
    vlmp_error err;
    assert_int_equal(read_text(&data, "x.json",
                               "[{\"id\":\"1\",\"image\":\"a.png\",\"conversations\":["
                               "{\"from\":\"human\",\"value\":\"<image>\\nWhat is it?\"},"
                               "{\"from\":\"gpt\",\"value\":\"A cat.\"},"
                               "{\"from\":\"human\",\"value\":\"Sure?\"},"
                               "{\"from\":\"gpt\",\"value\":\"Yes.\"}]},\n"
                               "{\"conversations\":[{\"from\":\"human\",\"value\":\"Hi\"}]}]",
                               NULL, &err),
                     0);
    assert_int_equal(data.count, 2);
    assert_string_equal(data.samples[0].prompt, "What is it?");
    assert_int_equal(data.samples[0].answer_count, 1);
    assert_string_equal(data.samples[0].answers[0], "A cat.");
    assert_int_equal(data.samples[1].answer_count, 0);
    assert_int_equal(data.samples[1].line, 2);
    vlmp_dataset_free(&data);
}

#define COCO(annotations)                                                                     \
    "{\n\"images\":[{\"id\":9,\"file_name\":\"c.jpeg\"},{\"id\":2,\"file_name\":\"d.png\"}]," \
    "\"annotations\":[" annotations "]}"

static void reads_coco(void **state)
{
    (void)state;
    vlmp_dataset data;
    vlmp_error err;
    const char *text = COCO("{\"image_id\":2,\"caption\":\"first\"},"
                            "{\"image_id\":9,\"caption\":\"other\"},"
                            "{\"image_id\":2,\"caption\":\"second\"}");
    assert_int_equal(read_text(&data, "coco.json", text, "pics", &err), 0);
    assert_int_equal(data.count, 2);
    assert_string_equal(data.samples[0].image_names[0], "c.jpeg");
    assert_string_equal(data.samples[1].answers[1], "second");
    assert_int_equal(data.samples[1].answer_count, 2);
    assert_string_equal(data.samples[1].prompt, "Describe the picture.");
    vlmp_dataset_free(&data);
    assert_int_equal(read_text(&data, "coco.json", text, NULL, &err), VLMP_ERR_USAGE);
    assert_non_null(strstr(err.message, "--image-root"));
}

static void reads_folders(void **state)
{
    (void)state;
    vlmp_dataset data;
    vlmp_error err = {0};
    assert_int_equal(vlmp_dataset_read(&data, "pics", NULL, &err), 0);
    assert_int_equal(data.count, 2);
    assert_string_equal(data.samples[0].image_names[0], "c.jpeg");
    assert_string_equal(data.samples[1].image_names[0], "d.png");
    assert_int_equal(data.samples[0].answer_count, 0);
    vlmp_dataset_free(&data);
    assert_int_equal(vlmp_dataset_read(&data, "none", NULL, &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "without PNG, JPEG or WebP"));
}

static const struct {
    const char *name, *text, *says;
} refused[] = {
    {"e.jsonl", "", "e.jsonl: empty"},
    {"e.jsonl", "{\"prompt\":\"p\"}\n\n{\"prompt\":\"p\"}\n", "e.jsonl:2: an empty line"},
    {"e.jsonl", "{\"prompt\":\"p\"}\n  \t\n", "e.jsonl:2: an empty line"},
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
    {"e.jsonl", "{\"prompt\":\"p\",\"images\":[\"a.png\"]}\n", "did you mean 'image'?"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":{}}\n", "'image' is neither a string nor a list"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":[1]}\n", "'image' holds something"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"\"}\n", "the picture's name is empty"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"/etc/hostname\"}\n", "absolute paths are refused"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"pics/../../x.png\"}\n",
     "e.jsonl:1: picture 'pics/../../x.png' leaves the folder"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"..\"}\n", "leaves the folder"},
    {"e.jsonl", "{\"prompt\":\"p\",\"image\":\"out.png\"}\n", "leaves the folder through a link"},
    {"e.json", "[]", "e.json: an empty list"},
    {"e.json", "[{\"image\":\"a.png\"}]", "entry 1: no 'conversations'"},
    {"e.json", "[{\"conversations\":[]}]", "no turn from 'human'"},
    {"e.json", "[{\"conversations\":[{\"from\":\"human\",\"value\":\"<image>\\nx\"}]}]",
     "1 times '<image>' but 0 pictures"},
    {"e.json",
     "[{\"image\":\"a.png\",\"conversations\":[{\"from\":\"human\",\"value\":\"<image>\\n\"}]}]",
     "has no text"},
    {"e.json", "{\n\"x\": 1}", "neither JSONL, nor"},
    {"e.json", "{\n", "e.json: byte"},
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
    vlmp_dataset data;
    vlmp_error err;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        assert_int_equal(read_text(&data, refused[i].name, refused[i].text, NULL, &err),
                         VLMP_ERR_INPUT);
        if (strstr(err.message, refused[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, refused[i].says);
        assert_null(data.arena);
    }
    for (size_t i = 0; i < sizeof refused_coco / sizeof *refused_coco; i++) {
        assert_int_equal(read_text(&data, "c.json", refused_coco[i].text, "pics", &err),
                         VLMP_ERR_INPUT);
        if (strstr(err.message, refused_coco[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, refused_coco[i].says);
    }
    err = (vlmp_error){0};
    assert_int_equal(vlmp_dataset_read(&data, "absent.jsonl", NULL, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_dataset_read(&data, "e.jsonl", "absent", &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "absent: no such folder of pictures"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_jsonl), cmocka_unit_test(reads_llava),
        cmocka_unit_test(reads_coco),  cmocka_unit_test(reads_folders),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
