/* Where the records of a data file lie: one pass over its bytes through a small window. Records are
 * not understood here, only found: their JSON is checked when they are read. */
#include <stdlib.h>
#include <string.h>

#include "formats/dataset_build.h"
#include "src/base/file.h"
#include "src/base/json.h"

#define WINDOW ((size_t)64 << 10)
#define KEY    16 /* bytes of a key that matter */

int vlmp_records_add(vlmp_records *records, vlmp_record record, const char *path, vlmp_error *err)
{
    if (records->count == VLMP_MAX_SAMPLES)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: more than %d records", path, VLMP_MAX_SAMPLES);
    if (records->count == records->capacity) {
        size_t capacity = records->capacity == 0 ? 256 : 2 * records->capacity;
        vlmp_record *grown = realloc(records->items, capacity * sizeof *grown);
        if (grown == NULL) return vlmp_fail_memory(err, path);
        records->items = grown;
        records->capacity = capacity;
    }
    records->items[records->count++] = record;
    return VLMP_OK;
}

/* The bytes of the file, one after the other. */
struct scanner {
    vlmp_dataset *data;
    char *window;
    size_t at, filled; /* within the window */
    uint64_t start;    /* of the window in the file */
    uint32_t line;     /* from 1 */
    int status;        /* of reading */
    vlmp_error *err;
};

static uint64_t offset_of(const struct scanner *s)
{
    return s->start + s->at;
}

static uint32_t clipped(uint64_t length)
{
    return length > UINT32_MAX ? UINT32_MAX : (uint32_t)length;
}

/* The next byte, which stays; −1 at the end of the file and after a failure. */
static int peek(struct scanner *s)
{
    if (s->at == s->filled) {
        s->start += s->filled;
        s->at = s->filled = 0;
        uint64_t left = s->data->length - s->start;
        size_t take = left < WINDOW ? (size_t)left : WINDOW;
        if (take == 0 || s->status != VLMP_OK) return -1;
        s->status =
            vlmp_file_read_at(s->data->fd, s->window, take, s->start, s->data->path, s->err);
        if (s->status != VLMP_OK) return -1;
        s->filled = take;
    }
    return (unsigned char)s->window[s->at];
}

static void advance(struct scanner *s)
{
    s->line += s->window[s->at] == '\n';
    s->at++;
}

static bool is_space(int c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int peek_behind_space(struct scanner *s)
{
    int c = peek(s);
    for (; is_space(c); c = peek(s))
        advance(s);
    return c;
}

static int not_json(const struct scanner *s)
{
    if (s->status != VLMP_OK) return s->status;
    return vlmp_fail(s->err, VLMP_ERR_INPUT, "%s: line %u, byte %llu: not valid JSON",
                     s->data->path, s->line, (unsigned long long)offset_of(s));
}

static int take(struct scanner *s, char wanted)
{
    if (peek_behind_space(s) != wanted) return not_json(s);
    advance(s);
    return VLMP_OK;
}

/* Behind its first quote; out gets its first bytes as they stand in the file. */
static int skip_string(struct scanner *s, char out[KEY])
{
    size_t n = 0;
    for (int c = peek(s); c != '"'; c = peek(s)) {
        if (c < 0x20) return not_json(s); /* the end of the file, too */
        if (n < KEY - 1) out[n++] = (char)c;
        advance(s);
        if (c == '\\') {
            if (peek(s) < 0) return not_json(s);
            advance(s);
        }
    }
    advance(s);
    out[n] = '\0';
    return VLMP_OK;
}

/* Over one value of any kind: brackets must pair up, the rest is left to the parser. */
static int skip_value(struct scanner *s)
{
    char open[VLMP_JSON_DEPTH], unused[KEY];
    size_t depth = 0;
    int c = peek_behind_space(s);
    if (c < 0 || strchr(",:]}", c) != NULL) return not_json(s);
    do {
        c = peek(s);
        if (c < 0) return not_json(s);
        if (depth == 0 && (is_space(c) || strchr(",:]}", c) != NULL)) break;
        if (c == '}' || c == ']')
            if (open[--depth] != (c == '}' ? '{' : '[')) return not_json(s);
        advance(s);
        if (c == '"') VLMP_TRY(skip_string(s, unused));
        if (c == '{' || c == '[') {
            if (depth == VLMP_JSON_DEPTH)
                return vlmp_fail(s->err, VLMP_ERR_INPUT, "%s: byte %llu: nested deeper than %d",
                                 s->data->path, (unsigned long long)offset_of(s), VLMP_JSON_DEPTH);
            open[depth++] = (char)c;
        }
        /* A number or a word ends where something else begins, all else with its last byte. */
        if (depth == 0 && (c == '"' || c == '}' || c == ']')) break;
    } while (depth > 0 || peek(s) >= 0);
    return VLMP_OK;
}

/* Behind its bracket. */
static int read_list(struct scanner *s, vlmp_records *records)
{
    if (peek_behind_space(s) == ']') return take(s, ']');
    for (uint32_t number = 1;; number++) {
        peek_behind_space(s);
        vlmp_record record = {.offset = offset_of(s), .number = number};
        VLMP_TRY(skip_value(s));
        record.length = clipped(offset_of(s) - record.offset);
        VLMP_TRY(vlmp_records_add(records, record, s->data->path, s->err));
        int c = peek_behind_space(s);
        if (c != ',') return take(s, ']');
        advance(s);
    }
}

/* Behind its brace. Finds the lists of COCO. */
static int read_object(struct scanner *s, bool *is_coco)
{
    if (peek_behind_space(s) == '}') return take(s, '}');
    for (;;) {
        char key[KEY];
        VLMP_TRY(take(s, '"'));
        VLMP_TRY(skip_string(s, key));
        VLMP_TRY(take(s, ':'));
        bool images = strcmp(key, "images") == 0, captions = strcmp(key, "annotations") == 0;
        *is_coco = *is_coco || captions;
        vlmp_records *list = images ? &s->data->records : captions ? &s->data->captions : NULL;
        if (captions && peek_behind_space(s) != '[')
            return vlmp_fail(s->err, VLMP_ERR_INPUT, "%s: 'annotations' is not a list",
                             s->data->path);
        if (peek_behind_space(s) == '[' && list != NULL && list->count == 0) {
            advance(s);
            VLMP_TRY(read_list(s, list));
        } else {
            VLMP_TRY(skip_value(s));
        }
        if (peek_behind_space(s) != ',') return take(s, '}');
        advance(s);
    }
}

static int scan_document(struct scanner *s)
{
    vlmp_dataset *data = s->data;
    int first = peek_behind_space(s);
    bool is_coco = false;
    uint32_t line = s->line;
    if (first != '[' && first != '{')
        return s->status != VLMP_OK
                   ? s->status
                   : vlmp_fail(s->err, VLMP_ERR_INPUT,
                               "%s: neither JSONL, nor a list of LLaVA conversations, nor COCO "
                               "captions",
                               data->path);
    advance(s);
    data->kind = first == '[' ? VLMP_DATA_LLAVA : VLMP_DATA_COCO;
    VLMP_TRY(first == '[' ? read_list(s, &data->records) : read_object(s, &is_coco));
    if (first == '{' && !is_coco) {
        data->kind = VLMP_DATA_JSONL;
        data->records.count = data->captions.count = 0;
        if (line == s->line) return VLMP_OK;
        return vlmp_fail(s->err, VLMP_ERR_INPUT,
                         "%s: neither JSONL, nor a list of LLaVA conversations, nor COCO captions",
                         data->path);
    }
    if (peek_behind_space(s) >= 0)
        return vlmp_fail(s->err, VLMP_ERR_INPUT,
                         "%s: line %u, byte %llu: text after the JSON document", data->path,
                         s->line, (unsigned long long)offset_of(s));
    return s->status;
}

static int scan_lines(struct scanner *s)
{
    for (int c = peek(s); c >= 0; c = peek(s)) {
        vlmp_record record = {.offset = offset_of(s), .number = s->line};
        bool blank = true;
        for (; c >= 0 && c != '\n'; c = peek(s)) {
            blank = blank && is_space(c);
            s->at++;
        }
        record.length = clipped(offset_of(s) - record.offset);
        if (c >= 0) advance(s);
        if (!blank) VLMP_TRY(vlmp_records_add(&s->data->records, record, s->data->path, s->err));
    }
    return s->status;
}

static int scan(vlmp_dataset *data, int (*work)(struct scanner *), vlmp_error *err)
{
    struct scanner s = {.data = data, .line = 1, .err = err, .window = malloc(WINDOW)};
    if (s.window == NULL) return vlmp_fail_memory(err, data->path);
    /* A byte order mark is passed over. */
    if (peek(&s) == 0xef && s.filled >= 3 && memcmp(s.window, "\xef\xbb\xbf", 3) == 0) s.at = 3;
    int status = work(&s);
    free(s.window);
    return status;
}

int vlmp_index_lines(vlmp_dataset *dataset, vlmp_error *err)
{
    return scan(dataset, scan_lines, err);
}

int vlmp_index_document(vlmp_dataset *dataset, vlmp_error *err)
{
    return scan(dataset, scan_document, err);
}
