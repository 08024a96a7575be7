/* safetensors: the golden file both ways, and every rule broken once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "formats/safetensors.h"
#include "formats/safetensors_write.h"
#include "tests/unit/temp_folder.h"

/* A file made by the reference implementation: b F32 [1] = 1, a I8 [3] = 1, 2, −1. */
static const char golden_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},\"b\":{\"dtype\":\"F32\",\"shape\":[1],"
    "\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[4,7]}}       ";
static const unsigned char golden_data[7] = {0, 0, 0x80, 0x3f, 1, 2, 0xff};

/* Length field, header and data as a file; returns its length. */
static size_t write_file(const char *name, const char *header, size_t header_length,
                         const void *data, size_t data_length)
{
    size_t total = 8 + header_length + data_length;
    unsigned char *bytes = malloc(total + 1);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)header_length >> 8 * i);
    memcpy(bytes + 8, header, header_length);
    if (data_length > 0) memcpy(bytes + 8 + header_length, data, data_length);
    temp_write(name, bytes, total);
    free(bytes);
    return total;
}

static void golden_is_read(void **state)
{
    (void)state;
    assert_int_equal(write_file("g", golden_header, sizeof golden_header - 1, golden_data, 7), 159);
    vlmp_error err = {0};
    vlmp_safetensors file;
    assert_int_equal(vlmp_safetensors_open(&file, temp_path("g"), &err), VLMP_OK);
    assert_int_equal(file.count, 2);
    assert_int_equal(file.data_start, 152);
    assert_string_equal(vlmp_safetensors_metadata(&file, "format", NULL), "pt");
    assert_null(vlmp_safetensors_metadata(&file, "other", NULL));
    const vlmp_st_tensor *a = vlmp_safetensors_find(&file, "a");
    assert_non_null(a);
    assert_int_equal(a->dtype, VLMP_I8);
    assert_int_equal(a->rank, 1);
    assert_int_equal(a->shape[0], 3);
    assert_memory_equal(vlmp_safetensors_data(&file, a), golden_data + 4, 3);
    assert_null(vlmp_safetensors_find(&file, "c"));
    vlmp_safetensors_close(&file);
}

static int read_data(void *arg, size_t index, uint64_t offset, void *out, size_t length,
                     vlmp_error *err)
{
    (void)arg;
    (void)err;
    assert_int_equal(index, 1);
    memcpy(out, golden_data + offset, length);
    return VLMP_OK;
}

static void golden_is_written(void **state)
{
    (void)state;
    vlmp_tensor tensors[] = {
        {.name = "a", .dtype = VLMP_I8, .rank = 1, .shape = {3}, .data = golden_data + 4},
        {.name = "b", .dtype = VLMP_F32, .rank = 1, .shape = {1}},
    };
    vlmp_st_pair pairs[] = {{"format", "pt", 2}};
    vlmp_error err = {0};
    write_file("g", golden_header, sizeof golden_header - 1, golden_data, 7);
    assert_int_equal(
        vlmp_safetensors_write(temp_path("w"), false, tensors, 2, pairs, 1, read_data, NULL, &err),
        VLMP_OK);
    char *have, *want;
    size_t have_length, want_length;
    assert_int_equal(vlmp_file_read(&have, &have_length, temp_path("w"), 1000, &err), VLMP_OK);
    assert_int_equal(vlmp_file_read(&want, &want_length, temp_path("g"), 1000, &err), VLMP_OK);
    assert_int_equal(have_length, want_length);
    assert_memory_equal(have, want, want_length);
    free(have);
    free(want);
    assert_int_equal(
        vlmp_safetensors_write(temp_path("w"), false, tensors, 2, pairs, 1, read_data, NULL, &err),
        VLMP_ERR_USAGE);
}

static void edge_cases_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        size_t count;
    } good[] = {
        {"{}", 0, 0},
        {"{ \"__metadata__\" : { } }\n\t ", 0, 0},
        /* a scalar; two empty tensors share an offset; members in any order, spaces anywhere */
        {"{\"s\":{\"shape\":[],\"data_offsets\":[0,4],\"dtype\":\"F32\"}}", 4, 1},
        {"{\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},\"y\":{\"dtype\":\"F16\","
         "\"shape\":[2,0],\"data_offsets\":[0,0]},\"z\" : { \"dtype\":\"U8\" , \"shape\": [ 2 ] ,"
         "\"data_offsets\" : [ 0 , 2 ] } }",
         2, 3},
        {"{\"\\u00e4\\ud83d\\ude00\\/"
         "\\\"\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]"
         "}}",
         2, 1},
        {"{\"8\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, 1},
        /* types that are not computed with; 4 and 6 bits without gaps */
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3,2],\"data_offsets\":[0,3]}}", 3, 1},
        {"{\"a\":{\"dtype\":\"F6_E2M3\",\"shape\":[4],\"data_offsets\":[0,3]},"
         "\"b\":{\"dtype\":\"F6_E3M2\",\"shape\":[0],\"data_offsets\":[3,3]}}",
         3, 2},
        {"{\"a\":{\"dtype\":\"F8_E8M0\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"b\":{\"dtype\":\"F8_E4M3FNUZ\",\"shape\":[1],\"data_offsets\":[1,2]},"
         "\"c\":{\"dtype\":\"F8_E5M2FNUZ\",\"shape\":[1],\"data_offsets\":[2,3]}}",
         3, 3},
        {"{\"a\":{\"dtype\":\"C64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, 1},
        /* metadata is any text */
        {"{\"__metadata__\":{\"\":\"x\",\"a\\n\":\"\\u0000\\u001b\"}}", 0, 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        unsigned char data[8] = {0};
        write_file("edge", good[i].header, strlen(good[i].header), data, good[i].data);
        vlmp_error err = {0};
        vlmp_safetensors file;
        int status = vlmp_safetensors_open(&file, temp_path("edge"), &err);
        if (status != VLMP_OK) fail_msg("%s: %s", good[i].header, err.message);
        assert_int_equal(file.count, good[i].count);
        vlmp_safetensors_close(&file);
    }
    write_file("edge", good[4].header, strlen(good[4].header), "xy", 2);
    vlmp_error err = {0};
    vlmp_safetensors file;
    assert_int_equal(vlmp_safetensors_open(&file, temp_path("edge"), &err), VLMP_OK);
    assert_non_null(vlmp_safetensors_find(&file, "\xc3\xa4\xf0\x9f\x98\x80/\""));
    vlmp_safetensors_close(&file);
}

#define T(body)  "{\"t\":{" body "}}"
#define U8_4     "\"dtype\":\"U8\",\"shape\":[4]"
#define AT(a, b) "\"data_offsets\":[" #a "," #b "]"

static const struct {
    const char *header;
    size_t data; /* bytes behind the header */
    const char *phrase;
} bad_headers[] = {
    {"", 0, "does not begin with '{'"},
    {"[]", 0, "does not begin with '{'"},
    {" {}", 0, "does not begin with '{'"},
    {"\xef\xbb\xbf{}", 0, "does not begin with '{'"},
    {"{\"\xff\":1}", 0, "not valid UTF-8"},
    {"{\"\xc0\xaf\":1}", 0, "not valid UTF-8"},
    {"{\"\xed\xa0\x80\":1}", 0, "not valid UTF-8"},
    {"{", 0, "the JSON ends"},
    {"{}x", 0, "text after the JSON"},
    {"{} {}", 0, "text after the JSON"},
    {"{\"t", 0, "does not end"},
    {"{t:1}", 0, "'\"' expected"},
    {"{\"t\"}", 0, "':' expected"},
    {"{\"t\":1}", 0, "'{' expected"},
    {"{\"t\":{}}", 0, "no members"},
    {"{\"\":{" U8_4 "," AT(0, 4) "}}", 4, "an empty name; that is not supported"},
    {"{\"a\\u0000b\":{" U8_4 "," AT(0, 4) "}}", 4, "a control character in a name; that is not"},
    {"{\"a\\nb\":{" U8_4 "," AT(0, 4) "}}", 4, "a control character in a name"},
    {"{\"a\nb\":{" U8_4 "," AT(0, 4) "}}", 4, "a control character in a string"},
    {"{\"\\ud800\":1}", 0, "a lone surrogate"},
    {"{\"\\q\":1}", 0, "an unknown escape"},
    {"{\"\\u12g4\":1}", 0, "without four hex digits"},
    {T(U8_4), 4, "lacks 'data_offsets'"},
    {T("\"dtype\":\"U8\"," AT(0, 4)), 4, "lacks 'shape'"},
    {T("\"shape\":[4]," AT(0, 4)), 4, "lacks 'dtype'"},
    {T(U8_4 "," AT(0, 4) ",\"x\":1"), 4, "an unknown member"},
    {T(U8_4 ",\"dtype\":\"U8\"," AT(0, 4)), 4, "'dtype' twice"},
    {T(U8_4 "," AT(0, 4) ","), 4, "'\"' expected"},
    {T("\"dtype\":\"I4\",\"shape\":[4]," AT(0, 4)), 4, "unknown type 'I4'"},
    {T("\"dtype\":\"F4\",\"shape\":[3]," AT(0, 2)), 2, "no whole number of bytes"},
    {T("\"dtype\":\"F6_E3M2\",\"shape\":[2]," AT(0, 1)), 1, "no whole number of bytes"},
    {T("\"dtype\":\"F4\",\"shape\":[4611686018427387904]," AT(0, 4)), 4, "overflows"},
    {T("\"dtype\":\"u8\",\"shape\":[4]," AT(0, 4)), 4, "unknown type 'u8'"},
    {T("\"dtype\":8,\"shape\":[4]," AT(0, 4)), 4, "'\"' expected"},
    {T("\"dtype\":\"U8\",\"shape\":4," AT(0, 4)), 4, "'[' expected"},
    {T("\"dtype\":\"U8\",\"shape\":[-4]," AT(0, 4)), 4, "not a non-negative integer"},
    {T("\"dtype\":\"U8\",\"shape\":[4.0]," AT(0, 4)), 4, "not a non-negative integer"},
    {T("\"dtype\":\"U8\",\"shape\":[4e0]," AT(0, 4)), 4, "not a non-negative integer"},
    {T("\"dtype\":\"U8\",\"shape\":[04]," AT(0, 4)), 4, "not a non-negative integer"},
    {T("\"dtype\":\"U8\",\"shape\":[\"4\"]," AT(0, 4)), 4, "not a non-negative integer"},
    {T("\"dtype\":\"U8\",\"shape\":[9223372036854775808]," AT(0, 4)), 4, "2^63 or more"},
    {T("\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,4]," AT(0, 4)), 4,
     "has rank 9, more than 8; that is not"},
    {T("\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,4]," AT(0, 4)), 4, "overflows"},
    {T("\"dtype\":\"F64\",\"shape\":[4611686018427387904]," AT(0, 4)), 4, "overflows"},
    {T("\"dtype\":\"U8\",\"shape\":[9223372036854775807,2,0]," AT(0, 4)), 4, "need 0"},
    {T(U8_4 ",\"data_offsets\":[0]"), 4, "needs two numbers"},
    {T(U8_4 ",\"data_offsets\":[0,4,4]"), 4, "needs two numbers"},
    {T(U8_4 "," AT(4, 0)), 4, "ends before it begins"},
    {T(U8_4 "," AT(1, 5)), 5, "leaves a hole"},
    {T(U8_4 "," AT(0, 3)), 3, "has 3 bytes, its shape and type U8 need 4"},
    {T(U8_4 "," AT(0, 4)), 3, "ends at data byte 4 but the file has 3"},
    {T(U8_4 "," AT(0, 4)), 5, "1 bytes after the last tensor"},
    {T("\"dtype\":\"U8\",\"shape\":[9223372036854775807]," AT(0, 9223372036854775807)), 4,
     "ends at data byte 9223372036854775807"},
    {"{}", 1, "1 bytes after the last tensor"},
    {"{\"a\":{" U8_4 "," AT(0, 4) "},\"b\":{" U8_4 "," AT(2, 6) "}}", 6, "overlaps"},
    {"{\"a\":{" U8_4 "," AT(0, 4) "},\"b\":{" U8_4 "," AT(0, 4) "}}", 4, "overlaps"},
    {"{\"a\":{" U8_4 "," AT(0, 4) "},\"b\":{" U8_4 "," AT(5, 9) "}}", 9, "leaves a hole"},
    {"{\"a\":{" U8_4 "," AT(0, 4) "},\"a\":{" U8_4 "," AT(4, 8) "}}", 8, "appears twice, at"},
    {"{\"\\u0061\":{" U8_4 "," AT(0, 4) "},\"a\":{" U8_4 "," AT(4, 8) "}}", 8, "appears twice"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "metadata 'a' is not a string"},
    {"{\"__metadata__\":{\"a\":null}}", 0, "metadata 'a' is not a string"},
    {"{\"__metadata__\":[]}", 0, "'{' expected"},
    {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, "the metadata key 'a' appears twice"},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "'__metadata__' appears twice"},
    {"{\"__metadata__\":{\"a\\u0000\":\"\"}}", 0, "\\u0000 in a metadata key; that is not"},
};

static void refuse(const char *name, const char *phrase, const char *what)
{
    vlmp_error err = {0};
    vlmp_safetensors file;
    int status = vlmp_safetensors_open(&file, temp_path(name), &err);
    if (status != VLMP_ERR_INPUT) fail_msg("%s: status %d (%s)", what, status, err.message);
    if (strstr(err.message, phrase) == NULL) fail_msg("%s: '%s'", what, err.message);
    if (strstr(err.message, temp_path(name)) == NULL) fail_msg("no file in '%s'", err.message);
    if (strchr(err.message, ';') == NULL) fail_msg("no hint in '%s'", err.message);
    assert_null(file.map.data);
}

static void bad_headers_are_refused(void **state)
{
    (void)state;
    unsigned char data[16] = {0};
    for (size_t i = 0; i < sizeof bad_headers / sizeof *bad_headers; i++) {
        write_file("bad", bad_headers[i].header, strlen(bad_headers[i].header), data,
                   bad_headers[i].data);
        refuse("bad", bad_headers[i].phrase, bad_headers[i].header);
    }
}

static void bad_starts_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *phrase;
    } starts[] = {
        {"", 0, "shorter than the 8-byte"},
        {"\2\0\0\0\0\0\0", 7, "shorter than the 8-byte"},
        {"\3\0\0\0\0\0\0\0{}", 10, "truncated"},
        {"\0\0\0\0\0\0\0\x80{}", 10, "more than the limit"},
        {"\1\xe1\xf5\5\0\0\0\0{}", 10, "a header of 100000001 bytes"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "Git LFS pointer"},
        {"<!DOCTYPE html><html>", 21, "an HTML page"},
        {"PK\3\4xxxxxxxxxxxx", 16, "a PyTorch pickle"},
    };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        temp_write("start", starts[i].bytes, starts[i].length);
        refuse("start", starts[i].phrase, starts[i].phrase);
    }
    assert_int_equal(mkfifo(temp_path("fifo"), 0600), 0);
    vlmp_error err = {0};
    vlmp_safetensors file;
    assert_int_equal(vlmp_safetensors_open(&file, temp_path("fifo"), &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "not a regular file"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_safetensors_open(&file, temp_folder, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_safetensors_open(&file, temp_path("absent"), &err), VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "no such file"));
}

static void deep_and_long_headers_are_refused(void **state)
{
    (void)state;
    size_t length = 2000000;
    char *text = malloc(length + 64);
    assert_non_null(text);
    memset(text, '[', length);
    memcpy(text, "{\"t\":{\"shape\":", 14);
    write_file("deep", text, length, NULL, 0);
    refuse("deep", "not a non-negative integer", "deep nesting");
    memset(text, 'n', length);
    memcpy(text, "{\"", 2);
    memcpy(text + length - 6, "\":{}}", 5);
    write_file("deep", text, length - 1, NULL, 0);
    refuse("deep", "more than the limit of 1024", "long name");
    free(text);
}

/* No prefix of a good file is good, and none is read past its end (run under ASan). */
static void every_truncation_is_refused(void **state)
{
    (void)state;
    unsigned char whole[159];
    write_file("g", golden_header, sizeof golden_header - 1, golden_data, 7);
    FILE *file = fopen(temp_path("g"), "rb");
    assert_non_null(file);
    assert_int_equal(fread(whole, 1, sizeof whole, file), sizeof whole);
    fclose(file);
    for (size_t length = 0; length < sizeof whole; length++) {
        temp_write("cut", whole, length);
        vlmp_error err = {0};
        vlmp_safetensors cut;
        assert_int_equal(vlmp_safetensors_open(&cut, temp_path("cut"), &err), VLMP_ERR_INPUT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_is_read),
        cmocka_unit_test(golden_is_written),
        cmocka_unit_test(edge_cases_are_read),
        cmocka_unit_test(bad_headers_are_refused),
        cmocka_unit_test(bad_starts_are_refused),
        cmocka_unit_test(deep_and_long_headers_are_refused),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, temp_folder_make, temp_folder_remove);
}
