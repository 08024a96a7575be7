#include "src/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/escape.h"
#include "src/base/file.h"
#include "src/base/utf8.h"

static size_t digits_from(const char *text, size_t length, size_t at)
{
    size_t end = at;
    while (end < length && text[end] >= '0' && text[end] <= '9')
        end++;
    return end - at;
}

/* Length of the number that begins at text; 0 when it has not JSON's form: a leading zero, a point
 * without digits on both sides, an exponent without digits. */
static size_t number_length(const char *text, size_t length)
{
    size_t at = text[0] == '-', count = digits_from(text, length, at);
    if (count == 0 || (text[at] == '0' && count > 1)) return 0;
    at += count;
    if (at < length && text[at] == '.') {
        if ((count = digits_from(text, length, at + 1)) == 0) return 0;
        at += 1 + count;
    }
    if (at < length && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < length && (text[at] == '+' || text[at] == '-')) at++;
        if ((count = digits_from(text, length, at)) == 0) return 0;
        at += count;
    }
    return at;
}

/* Why one scan before cJSON: cJSON keeps duplicate keys, cuts strings at NUL, reads numbers that
 * are none, and reports no place. Duplicate keys are then found on the tree, with a sort. */
static int scan_text(const char *text, size_t length, const char *where, vlmp_error *err)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '\0')
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: a NUL byte in JSON", where, i);
        if (in_string) {
            if (c == '\\' && i + 1 < length) {
                if (length - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
                    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: \\u0000 in a string",
                                     where, i);
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth >= VLMP_JSON_DEPTH)
                return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: nested deeper than %d", where,
                                 i, VLMP_JSON_DEPTH);
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            size_t digits = number_length(text + i, length - i);
            if (digits == 0)
                return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: not a number of JSON's form",
                                 where, i);
            i += digits - 1;
        }
    }
    return VLMP_OK;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys once each, numbers within a double's range. */
static int check_tree(const cJSON *node, const char *where, vlmp_error *err)
{
    size_t members = 0;
    if (cJSON_IsNumber(node) && !isfinite(node->valuedouble))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: a number beyond 1.8e308", where);
    for (const cJSON *child = node->child; child != NULL; child = child->next) {
        VLMP_TRY(check_tree(child, where, err));
        members++;
    }
    if (!cJSON_IsObject(node) || members < 2) return VLMP_OK;
    const char **keys = vlmp_alloc(members, sizeof *keys);
    if (keys == NULL) return vlmp_fail_memory(err, where);
    size_t n = 0;
    for (const cJSON *child = node->child; child != NULL; child = child->next)
        keys[n++] = child->string;
    qsort(keys, n, sizeof *keys, compare_keys);
    int status = VLMP_OK;
    for (size_t i = 1; i < n && status == VLMP_OK; i++)
        if (strcmp(keys[i - 1], keys[i]) == 0)
            status = vlmp_fail(err, VLMP_ERR_INPUT, "%s: the key '%.200s' appears twice", where,
                               keys[i]);
    free(keys);
    return status;
}

/* cJSON says the same for text that is not JSON and for want of memory. Only this tells them apart;
 * it belongs to the call of vlmp_json_parse that is under way in the thread. */
static _Thread_local bool no_memory;

static void *noted_malloc(size_t size)
{
    void *memory = malloc(size);
    no_memory |= memory == NULL;
    return memory;
}

int vlmp_json_parse(cJSON **out, const char *text, size_t length, const char *where,
                    vlmp_error *err)
{
    *out = NULL;
    VLMP_TRY(scan_text(text, length, where, err));
    size_t valid = vlmp_utf8_check(text, length);
    if (valid < length)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: not valid UTF-8", where, valid);
    const char *end = NULL;
    cJSON_Hooks hooks = {noted_malloc, free};
    cJSON_InitHooks(&hooks);
    no_memory = false;
    cJSON *tree = cJSON_ParseWithLengthOpts(text, length, &end, 0);
    if (tree == NULL && no_memory) return vlmp_fail_memory(err, where);
    if (tree == NULL) {
        size_t at = end != NULL ? (size_t)(end - text) : 0;
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: not valid JSON", where, at);
    }
    for (; end < text + length; end++) {
        if (*end != ' ' && *end != '\t' && *end != '\r' && *end != '\n') {
            cJSON_Delete(tree);
            return vlmp_fail(err, VLMP_ERR_INPUT, "%s: byte %zu: text after the JSON document",
                             where, (size_t)(end - text));
        }
    }
    int status = check_tree(tree, where, err);
    if (status != VLMP_OK) {
        cJSON_Delete(tree);
        return status;
    }
    *out = tree;
    return VLMP_OK;
}

int vlmp_json_load(cJSON **out, const char *path, size_t max_bytes, vlmp_error *err)
{
    *out = NULL;
    char *text;
    size_t length;
    VLMP_TRY(vlmp_file_read(&text, &length, path, max_bytes, err));
    int status = vlmp_json_parse(out, text, length, path, err);
    free(text);
    return status;
}

const cJSON *vlmp_json_get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item == NULL || cJSON_IsNull(item) ? NULL : item;
}

int vlmp_json_int(const cJSON *object, const char *key, int64_t fallback, int64_t low, int64_t high,
                  int64_t *out, const char *where, vlmp_error *err)
{
    const cJSON *item = vlmp_json_get(object, key);
    *out = fallback;
    if (item == NULL) return VLMP_OK;
    double value = item->valuedouble;
    if (!cJSON_IsNumber(item) || value != floor(value) || fabs(value) > 0x1p53)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not an integer", where, key);
    if (value < (double)low || value > (double)high)
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is %.0f, outside %lld … %lld", where, key,
                         value, (long long)low, (long long)high);
    *out = (int64_t)value;
    return VLMP_OK;
}

int vlmp_json_double(const cJSON *object, const char *key, double fallback, double *out,
                     const char *where, vlmp_error *err)
{
    const cJSON *item = vlmp_json_get(object, key);
    *out = fallback;
    if (item == NULL) return VLMP_OK;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not a number", where, key);
    *out = item->valuedouble;
    return VLMP_OK;
}

int vlmp_json_bool(const cJSON *object, const char *key, bool fallback, bool *out,
                   const char *where, vlmp_error *err)
{
    const cJSON *item = vlmp_json_get(object, key);
    *out = fallback;
    if (item == NULL) return VLMP_OK;
    if (!cJSON_IsBool(item))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not true or false", where, key);
    *out = cJSON_IsTrue(item);
    return VLMP_OK;
}

int vlmp_json_string(const cJSON *object, const char *key, const char *fallback, const char **out,
                     const char *where, vlmp_error *err)
{
    const cJSON *item = vlmp_json_get(object, key);
    *out = fallback;
    if (item == NULL) return VLMP_OK;
    if (!cJSON_IsString(item))
        return vlmp_fail(err, VLMP_ERR_INPUT, "%s: '%s' is not a string", where, key);
    *out = item->valuestring;
    return VLMP_OK;
}

static void new_line(vlmp_json_writer *w)
{
    if (w->indent == 0) return;
    vlmp_buffer_text(&w->out, "\n");
    for (int i = 0; i < w->indent * w->depth; i++)
        vlmp_buffer_append(&w->out, " ", 1);
}

static void before_value(vlmp_json_writer *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->depth == 0) return;
    if (w->needs_comma[w->depth - 1]) vlmp_buffer_text(&w->out, ",");
    w->needs_comma[w->depth - 1] = true;
    new_line(w);
}

void vlmp_json_open(vlmp_json_writer *w, char bracket)
{
    before_value(w);
    vlmp_buffer_append(&w->out, &bracket, 1);
    if (w->depth >= VLMP_JSON_DEPTH) {
        w->out.failed = true;
        return;
    }
    w->needs_comma[w->depth++] = false;
}

void vlmp_json_close(vlmp_json_writer *w, char bracket)
{
    bool had_members = w->needs_comma[--w->depth];
    if (had_members) new_line(w);
    vlmp_buffer_append(&w->out, &bracket, 1);
}

/* What cannot be seen is written as \u…, which reads back as it was; a byte that is not UTF-8 as
 * U+FFFD, for there is no other way. */
static void quote(vlmp_buffer *out, const char *text, size_t length)
{
    vlmp_buffer_append(out, "\"", 1);
    for (size_t i = 0, n; i < length; i += n) {
        const unsigned char *p = (const unsigned char *)text + i;
        n = vlmp_utf8_length(p, length - i);
        uint32_t code = n > 0 ? vlmp_utf8_code(p, n) : 0xfffd;
        if (code == '"' || code == '\\')
            vlmp_buffer_printf(out, "\\%c", (int)code);
        else if (code == '\n')
            vlmp_buffer_text(out, "\\n");
        else if (code > 0xffff && vlmp_is_hidden(code))
            vlmp_buffer_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (code >> 10),
                               0xdc00 + (code & 0x3ff));
        else if (n == 0 || vlmp_is_hidden(code))
            vlmp_buffer_printf(out, "\\u%04x", code);
        else
            vlmp_buffer_append(out, p, n);
        if (n == 0) n = 1;
    }
    vlmp_buffer_append(out, "\"", 1);
}

void vlmp_json_key(vlmp_json_writer *w, const char *key)
{
    vlmp_json_key_bytes(w, key, strlen(key));
}

void vlmp_json_key_bytes(vlmp_json_writer *w, const char *key, size_t length)
{
    before_value(w);
    quote(&w->out, key, length);
    vlmp_buffer_text(&w->out, w->indent ? ": " : ":");
    w->after_key = true;
}

void vlmp_json_put_bytes(vlmp_json_writer *w, const char *text, size_t length)
{
    before_value(w);
    quote(&w->out, text, length);
}

void vlmp_json_put_string(vlmp_json_writer *w, const char *text)
{
    if (text == NULL)
        vlmp_json_put_null(w);
    else
        vlmp_json_put_bytes(w, text, strlen(text));
}

void vlmp_json_put_int(vlmp_json_writer *w, int64_t value)
{
    before_value(w);
    vlmp_buffer_printf(&w->out, "%lld", (long long)value);
}

void vlmp_json_put_double(vlmp_json_writer *w, double value)
{
    if (!isfinite(value)) {
        vlmp_json_put_null(w);
        return;
    }
    before_value(w);
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    vlmp_buffer_text(&w->out, text);
}

void vlmp_json_put_bool(vlmp_json_writer *w, bool value)
{
    before_value(w);
    vlmp_buffer_text(&w->out, value ? "true" : "false");
}

void vlmp_json_put_null(vlmp_json_writer *w)
{
    before_value(w);
    vlmp_buffer_text(&w->out, "null");
}

void vlmp_json_pair_open(vlmp_json_writer *w, const char *key, char bracket)
{
    vlmp_json_key(w, key);
    vlmp_json_open(w, bracket);
}

void vlmp_json_pair_string(vlmp_json_writer *w, const char *key, const char *text)
{
    vlmp_json_key(w, key);
    vlmp_json_put_string(w, text);
}

void vlmp_json_pair_int(vlmp_json_writer *w, const char *key, int64_t value)
{
    vlmp_json_key(w, key);
    vlmp_json_put_int(w, value);
}

void vlmp_json_pair_double(vlmp_json_writer *w, const char *key, double value)
{
    vlmp_json_key(w, key);
    vlmp_json_put_double(w, value);
}

void vlmp_json_pair_bool(vlmp_json_writer *w, const char *key, bool value)
{
    vlmp_json_key(w, key);
    vlmp_json_put_bool(w, value);
}

void vlmp_json_put_tree(vlmp_json_writer *w, const cJSON *tree)
{
    if (cJSON_IsObject(tree) || cJSON_IsArray(tree)) {
        bool object = cJSON_IsObject(tree);
        vlmp_json_open(w, object ? '{' : '[');
        for (const cJSON *child = tree->child; child != NULL; child = child->next) {
            if (object) vlmp_json_key(w, child->string);
            vlmp_json_put_tree(w, child);
        }
        vlmp_json_close(w, object ? '}' : ']');
    } else if (cJSON_IsString(tree)) {
        vlmp_json_put_string(w, tree->valuestring);
    } else if (cJSON_IsNumber(tree)) {
        vlmp_json_put_double(w, tree->valuedouble);
    } else if (cJSON_IsBool(tree)) {
        vlmp_json_put_bool(w, cJSON_IsTrue(tree));
    } else {
        vlmp_json_put_null(w);
    }
}
