/* LLaVA conversations. */
#include <string.h>

#include "formats/dataset_build.h"
#include "src/base/json.h"

static const char mark[] = "<image>";

/* The role of a turn; NULL: none that is known. */
static const char *role_of(const cJSON *turn)
{
    static const char *const names[][2] = {{"human", "user"},
                                           {"user", "user"},
                                           {"gpt", "assistant"},
                                           {"assistant", "assistant"},
                                           {"system", "system"}};
    const cJSON *from = cJSON_IsObject(turn) ? vlmp_json_get(turn, "from") : NULL;
    for (size_t i = 0; cJSON_IsString(from) && i < sizeof names / sizeof *names; i++)
        if (strcmp(from->valuestring, names[i][0]) == 0) return names[i][1];
    return NULL;
}

static int count_marks(const char *text)
{
    int count = 0;
    for (; (text = strstr(text, mark)) != NULL; text += sizeof mark - 1)
        count++;
    return count;
}

static void trim(const char **from, const char **end, bool start, bool stop)
{
    while (start && *from < *end && strchr(" \t\r\n", **from) != NULL)
        ++*from;
    while (stop && *end > *from && strchr(" \t\r\n", (*end)[-1]) != NULL)
        --*end;
}

/* A user's text into parts: a picture where each mark stands. White space at both ends of the turn
 * goes, and what stands between them and the first or last text: the "\n" of "<image>\nWhat?". */
static int split_turn(vlmp_sample *sample, const char *text, int leading, vlmp_chat_message *out,
                      vlmp_error *err)
{
    size_t most = (size_t)leading + 2 * (size_t)count_marks(text) + 1, count = 0;
    const char **parts = vlmp_arena_alloc(&sample->arena, most, sizeof *parts);
    if (parts == NULL) return vlmp_fail_memory(err, sample->where);
    while (count < (size_t)leading)
        parts[count++] = VLMP_CHAT_PICTURE;
    bool seen = false; /* a text */
    for (const char *from = text, *next; from != NULL; from = next) {
        const char *found = strstr(from, mark), *end = found != NULL ? found : from + strlen(from);
        next = found != NULL ? found + sizeof mark - 1 : NULL;
        bool last = true; /* nothing but marks and white space follows */
        for (const char *rest = end; *rest != '\0' && last;)
            if (strncmp(rest, mark, sizeof mark - 1) == 0)
                rest += sizeof mark - 1;
            else
                last = strchr(" \t\r\n", *rest++) != NULL;
        trim(&from, &end, !seen, last);
        if (end > from) {
            parts[count] = vlmp_arena_copy(&sample->arena, from, (size_t)(end - from));
            if (parts[count++] == NULL) return vlmp_fail_memory(err, sample->where);
            seen = true;
        }
        if (next != NULL) parts[count++] = VLMP_CHAT_PICTURE;
    }
    *out = (vlmp_chat_message){"user", parts, count};
    return seen ? VLMP_OK
                : vlmp_fail(err, VLMP_ERR_INPUT, "%s: a human turn has no text", sample->where);
}

static int plain_turn(vlmp_sample *sample, const char *role, const char *text,
                      vlmp_chat_message *out, vlmp_error *err)
{
    if (strstr(text, mark) != NULL)
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: '<image>' in a turn of the %s; pictures stand in human turns",
                         sample->where, role);
    const char **parts = vlmp_arena_alloc(&sample->arena, 1, sizeof *parts);
    char *copy;
    if (parts == NULL) return vlmp_fail_memory(err, sample->where);
    VLMP_TRY(vlmp_sample_text(sample, &copy, text,
                              strcmp(role, "assistant") == 0 ? "the answer" : "a turn", err));
    parts[0] = copy;
    *out = (vlmp_chat_message){role, parts, 1};
    return VLMP_OK;
}

/* Roles, and how many marks there are. */
static int check_turns(const vlmp_sample *sample, const cJSON *turns, int *marks, vlmp_error *err)
{
    const char *before = "nobody", *where = sample->where;
    int number = 0;
    *marks = 0;
    for (const cJSON *turn = turns->child; turn != NULL; turn = turn->next) {
        const char *role = role_of(turn), *text;
        number++;
        if (role == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: turn %d is 'from' nobody known (human, gpt, system)", where,
                             number);
        VLMP_TRY(vlmp_json_string(turn, "value", NULL, &text, where, err));
        if (text == NULL)
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a turn without 'value'", where);
        if (strcmp(role, "assistant") == 0 && strcmp(before, "user") != 0)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: turn %d is from 'gpt', but no human turn is before it", where,
                             number);
        if (strcmp(role, "user") == 0) *marks += count_marks(text);
        before = role;
    }
    if (*marks > 0 && *marks != sample->image_count)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: %d times '<image>' but %d pictures", where,
                         *marks, sample->image_count);
    return VLMP_OK;
}

static int read_turns(vlmp_sample *sample, const cJSON *turns, int marks, vlmp_error *err)
{
    int leading = marks == 0 ? sample->image_count : 0; /* no marks: before the first text */
    for (const cJSON *turn = turns->child; turn != NULL; turn = turn->next) {
        const char *role = role_of(turn), *text = vlmp_json_get(turn, "value")->valuestring;
        vlmp_chat_message *out = &sample->turns[sample->turn_count++];
        if (strcmp(role, "user") != 0) {
            VLMP_TRY(plain_turn(sample, role, text, out, err));
            continue;
        }
        VLMP_TRY(split_turn(sample, text, leading, out, err));
        leading = 0;
    }
    return VLMP_OK;
}

int vlmp_sample_conversation(const vlmp_dataset *d, vlmp_sample *sample, const cJSON *record,
                             vlmp_error *err)
{
    const char *where = sample->where;
    const cJSON *turns = vlmp_json_get(record, "conversations");
    if (turns == NULL) return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no 'conversations'", where);
    if (!cJSON_IsArray(turns))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: 'conversations' is not a list", where);
    VLMP_TRY(vlmp_sample_no_video(sample, record, err));
    VLMP_TRY(vlmp_sample_images(d, sample, vlmp_json_get(record, "image"), err));
    int marks;
    VLMP_TRY(check_turns(sample, turns, &marks, err));
    sample->turns =
        vlmp_arena_alloc(&sample->arena, (size_t)cJSON_GetArraySize(turns), sizeof *sample->turns);
    if (sample->turns == NULL) return vlmp_fail_memory(err, where);
    VLMP_TRY(read_turns(sample, turns, marks, err));
    const vlmp_chat_message *last = &sample->turns[sample->turn_count - 1];
    int humans = 0, answers = 0;
    for (int i = 0; i < sample->turn_count; i++) {
        humans += strcmp(sample->turns[i].role, "user") == 0;
        answers += strcmp(sample->turns[i].role, "assistant") == 0;
    }
    if (humans == 0)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: no turn from 'human' in 'conversations'", where);
    bool answered = strcmp(last->role, "assistant") == 0;
    if (!answered && (answers > 0 || strcmp(last->role, "user") != 0))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: the last turn has no answer though others have; give the answer, or "
                         "remove the turn",
                         where);
    if (!answered) return VLMP_OK;
    sample->answers = vlmp_arena_alloc(&sample->arena, 1, sizeof *sample->answers);
    if (sample->answers == NULL) return vlmp_fail_memory(err, where);
    sample->answers[0] = vlmp_arena_copy(&sample->arena, last->parts[0], strlen(last->parts[0]));
    if (sample->answers[0] == NULL) return vlmp_fail_memory(err, where);
    sample->answer_count = 1;
    sample->turn_count--;
    return VLMP_OK;
}
