/* The ends of answers, from a folder's files: what the reference implementation's generation
 * configuration is for the same files, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "src/model/stop_tokens.h"

static const char *generation, *config; /* the folder's files; NULL: absent */

static const char *file(const vlmp_source *self, const char *name, size_t *length)
{
    (void)self;
    const char *text = strcmp(name, "config.json") == 0              ? config
                       : strcmp(name, "generation_config.json") == 0 ? generation
                                                                     : NULL;
    *length = text != NULL ? strlen(text) : 0;
    return text;
}

static int read_stop(vlmp_stop_tokens *stop, vlmp_error *err)
{
    const vlmp_source source = {.path = "model", .file = file};
    *err = (vlmp_error){0};
    return vlmp_stop_tokens_read(stop, &source, 1024, err);
}

/* want: the ids, -1 at the end. */
static void gives(const char *generation_text, const char *config_text, const int *want)
{
    vlmp_stop_tokens stop;
    vlmp_error err;
    generation = generation_text;
    config = config_text;
    if (read_stop(&stop, &err) != VLMP_OK) fail_msg("%s", err.message);
    int count = 0;
    for (; want[count] >= 0; count++)
        assert_true(vlmp_stop_tokens_has(&stop, want[count]));
    assert_int_equal(stop.count, count);
    assert_false(vlmp_stop_tokens_has(&stop, 1000));
    vlmp_stop_tokens_free(&stop);
}

static void refused(const char *generation_text, const char *config_text, const char *message)
{
    vlmp_stop_tokens stop;
    vlmp_error err;
    generation = generation_text;
    config = config_text;
    assert_int_equal(read_stop(&stop, &err), VLMP_ERR_INPUT);
    if (strstr(err.message, message) == NULL) fail_msg("no '%s' in: %s", message, err.message);
    assert_int_equal(stop.count, 0);
}

#define IDS(...)        \
    (const int[])       \
    {                   \
        __VA_ARGS__, -1 \
    }
static const int none[] = {-1};

/* The reference reads generation_config.json alone where it is there, else what config.json spells
 * out: at the top before text_config. Class defaults do not count. */
static void order(void **state)
{
    (void)state;
    static const char text5[] = "{\"text_config\":{\"eos_token_id\":5}}";
    gives("{\"eos_token_id\":2}", text5, IDS(2));
    gives("{\"eos_token_id\":[2,7,9]}", text5, IDS(2, 7, 9));
    gives("{\"eos_token_id\":null}", text5, none);
    gives("{}", text5, none);
    gives(NULL, text5, IDS(5));
    gives(NULL, "{\"text_config\":{\"eos_token_id\":[5,6]}}", IDS(5, 6));
    gives(NULL, "{\"eos_token_id\":7,\"text_config\":{\"eos_token_id\":5}}", IDS(7));
    gives(NULL, "{\"eos_token_id\":[7,8],\"text_config\":{\"eos_token_id\":5}}", IDS(7, 8));
    gives(NULL, "{\"eos_token_id\":null,\"text_config\":{\"eos_token_id\":5}}", IDS(5));
    gives(NULL, "{\"text_config\":{\"eos_token_id\":null}}", none);
    gives(NULL, "{\"text_config\":{\"model_type\":\"llama\"}}", none);
    gives(NULL, "{\"text_config\":{\"model_type\":\"qwen2\"}}", none);
    gives(NULL, "{}", none);
}

static void many(void **state)
{
    (void)state;
    char json[4000] = "{\"eos_token_id\":[";
    for (int i = 0; i < 300; i++)
        snprintf(json + strlen(json), sizeof json - strlen(json), "%s%d", i > 0 ? "," : "", i);
    strcat(json, "]}");
    vlmp_stop_tokens stop;
    vlmp_error err;
    generation = json;
    config = "{}";
    assert_int_equal(read_stop(&stop, &err), VLMP_OK);
    assert_int_equal(stop.count, 300);
    assert_true(vlmp_stop_tokens_has(&stop, 0) && vlmp_stop_tokens_has(&stop, 299));
    assert_false(vlmp_stop_tokens_has(&stop, 300));
    vlmp_stop_tokens_free(&stop);
}

static void bad_values(void **state)
{
    (void)state;
    static const struct {
        const char *value, *message;
    } cases[] = {
        {"[]", "empty list"},  {"1024", "vocabulary of 1024"},
        {"-1", "no token"},    {"1e300", "no token"},
        {"2.5", "no token"},   {"[2,1024]", "no token"},
        {"true", "neither"},   {"\"2\"", "neither"},
        {"[null]", "neither"}, {"[[2]]", "neither"},
        {"{}", "neither"},     {"[2,\"3\"]", "neither"},
    };
    char json[100];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(json, sizeof json, "{\"eos_token_id\":%s}", cases[i].value);
        refused(json, "{}", cases[i].message);
        refused(json, "{}", "generation_config.json");
        refused(NULL, json, cases[i].message);
        snprintf(json, sizeof json, "{\"text_config\":{\"eos_token_id\":%s}}", cases[i].value);
        refused(NULL, json, cases[i].message);
        refused("{\"eos_token_id\":2}", json,
                "model/config.json"); /* not used, but no less wrong */
    }
    refused("[2]", "{}", "not a JSON object");
    refused("{\"eos_token_id\":", "{}", "generation_config.json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(many),
        cmocka_unit_test(bad_values),
    };
    return cmocka_run_group_tests_name("stop_tokens", tests, NULL, NULL);
}
