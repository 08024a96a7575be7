/* JSON, strict: cJSON behind a scan that refuses what cJSON lets through (duplicate keys, trailing
 * text, NUL in strings, deep nesting), and a writer with deterministic output. */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/memory.h"

#define VLMP_JSON_DEPTH 64

/* Parses the whole of text (UTF-8, length bytes, need not be NUL-terminated). On failure *out is
 * NULL and err says "where: byte N: …". Free with cJSON_Delete. */
int vlmp_json_parse(cJSON **out, const char *text, size_t length, const char *where,
                    vlmp_error *err);

/* Reads and parses a file of at most max_bytes. */
int vlmp_json_load(cJSON **out, const char *path, size_t max_bytes, vlmp_error *err);

/* Member of an object, case-sensitive; NULL when absent or null. */
const cJSON *vlmp_json_get(const cJSON *object, const char *key);

/* Typed members with a default for absent or null; another type, or a number that is not an exact
 * integer in [low, high], is VLMP_ERR_INPUT with "where: 'key' …". */
int vlmp_json_int(const cJSON *object, const char *key, int64_t fallback, int64_t low, int64_t high,
                  int64_t *out, const char *where, vlmp_error *err);
int vlmp_json_double(const cJSON *object, const char *key, double fallback, double *out,
                     const char *where, vlmp_error *err);
int vlmp_json_bool(const cJSON *object, const char *key, bool fallback, bool *out,
                   const char *where, vlmp_error *err);
/* *out points into the tree (or is fallback). */
int vlmp_json_string(const cJSON *object, const char *key, const char *fallback, const char **out,
                     const char *where, vlmp_error *err);

/* Writing: append to a buffer; commas and quoting are handled. Numbers print with as few digits as
 * read back to the same value; NaN and infinities print as null. */
typedef struct {
    vlmp_buffer out;
    unsigned char depth;
    bool needs_comma[VLMP_JSON_DEPTH];
    bool after_key;
    int indent; /* spaces a level; 0: one line */
} vlmp_json_writer;

void vlmp_json_open(vlmp_json_writer *w, char bracket);  /* '{' or '[' */
void vlmp_json_close(vlmp_json_writer *w, char bracket); /* '}' or ']' */
void vlmp_json_key(vlmp_json_writer *w, const char *key);
void vlmp_json_key_bytes(vlmp_json_writer *w, const char *key, size_t length);
void vlmp_json_put_string(vlmp_json_writer *w, const char *text); /* NULL prints null */
void vlmp_json_put_bytes(vlmp_json_writer *w, const char *text, size_t length);
void vlmp_json_put_int(vlmp_json_writer *w, int64_t value);
void vlmp_json_put_double(vlmp_json_writer *w, double value);
void vlmp_json_put_bool(vlmp_json_writer *w, bool value);
void vlmp_json_put_null(vlmp_json_writer *w);
/* A key and its value; of pair_open what the bracket begins. */
void vlmp_json_pair_open(vlmp_json_writer *w, const char *key, char bracket);
void vlmp_json_pair_string(vlmp_json_writer *w, const char *key, const char *text);
void vlmp_json_pair_int(vlmp_json_writer *w, const char *key, int64_t value);
void vlmp_json_pair_double(vlmp_json_writer *w, const char *key, double value);
void vlmp_json_pair_bool(vlmp_json_writer *w, const char *key, bool value);
/* A parsed tree (depth is bounded by the parser). */
void vlmp_json_put_tree(vlmp_json_writer *w, const cJSON *tree);
