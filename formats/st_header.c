#include "formats/st_header.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/utf8.h"

/* Why not cJSON: it loses integers above 2^53, keeps duplicates, and builds a node of 64 bytes for
 * each value of a header that may be hostile. The grammar of a header has a fixed depth of three,
 * so this scanner needs neither recursion nor a tree. */
typedef struct {
    vlmp_safetensors *file;
    const char *text;
    size_t length;
    size_t at;
    size_t tensor_capacity;
    size_t pair_capacity;
    bool metadata_seen;
    vlmp_error *err;
} scanner;

static int refuse(const scanner *s, size_t at, const char *fmt, va_list args, const char *hint)
{
    char what[512];
    vsnprintf(what, sizeof what, fmt, args);
    return vlmp_fail(s->err, VLMP_ERR_INPUT, "%s: header byte %zu: %s; %s", s->file->path, at + 8,
                     what, hint);
}

__attribute__((format(printf, 3, 4))) static int bad(const scanner *s, size_t at, const char *fmt,
                                                     ...)
{
    va_list args;
    va_start(args, fmt);
    int status =
        refuse(s, at, fmt, args, "the file is damaged or not safetensors, download it again");
    va_end(args);
    return status;
}

/* For what the format allows and this program does not. */
__attribute__((format(printf, 3, 4))) static int unsupported(const scanner *s, size_t at,
                                                             const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int status =
        refuse(s, at, fmt, args, "that is not supported, save the tensors in another form");
    va_end(args);
    return status;
}

static void skip_space(scanner *s)
{
    while (s->at < s->length && strchr(" \t\r\n", s->text[s->at]) != NULL && s->text[s->at] != 0)
        s->at++;
}

static int peek(scanner *s)
{
    skip_space(s);
    return s->at < s->length ? (unsigned char)s->text[s->at] : -1;
}

static int expect(scanner *s, char c)
{
    int have = peek(s);
    if (have == c) {
        s->at++;
        return VLMP_OK;
    }
    if (have < 0) return bad(s, s->at, "the JSON ends where '%c' should follow", c);
    return bad(s, s->at, "'%c' expected", c);
}

static int check_utf8(const scanner *s)
{
    size_t at = vlmp_utf8_check(s->text, s->length);
    return at == s->length ? VLMP_OK : bad(s, at, "not valid UTF-8");
}

/* Four hex digits at text[at]; -1 when they are not. */
static int hex4(const scanner *s, size_t at)
{
    if (s->length - at < 4) return -1;
    int value = 0;
    for (size_t i = at; i < at + 4; i++) {
        char c = s->text[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

static size_t put_utf8(char *out, uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(lead[n] | code);
    return n;
}

/* \uXXXX at s->at (behind the u), a surrogate pair included. */
static int unicode_escape(scanner *s, char *out, size_t *used)
{
    int code = hex4(s, s->at);
    if (code < 0) return bad(s, s->at, "\\u without four hex digits");
    s->at += 4;
    uint32_t value = (uint32_t)code;
    if (code >= 0xd800 && code <= 0xdfff) {
        bool pair = code < 0xdc00 && s->length - s->at >= 6 && s->text[s->at] == '\\' &&
                    s->text[s->at + 1] == 'u';
        int low = pair ? hex4(s, s->at + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff) return bad(s, s->at, "a lone surrogate in a string");
        value = 0x10000 + ((value - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
        s->at += 6;
    }
    *used += put_utf8(out + *used, value);
    return VLMP_OK;
}

static int escape(scanner *s, char *out, size_t *used)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = s->at < s->length ? s->text[s->at] : '\0';
    s->at++;
    if (c == 'u') return unicode_escape(s, out, used);
    const char *hit = c != '\0' ? strchr(from, c) : NULL;
    if (hit == NULL) return bad(s, s->at - 1, "an unknown escape in a string");
    out[(*used)++] = to[hit - from];
    return VLMP_OK;
}

/* The closing quote of the string whose text begins at `from`; length when there is none. */
static size_t string_end(const scanner *s, size_t from)
{
    for (size_t i = from; i < s->length; i++) {
        if (s->text[i] == '"') return i;
        if (s->text[i] == '\\') i++;
    }
    return s->length;
}

/* A string of at most max bytes (raw), decoded into the arena. It may hold NUL. */
static int scan_string(scanner *s, size_t max, char **out, size_t *out_length)
{
    VLMP_TRY(expect(s, '"'));
    size_t start = s->at, end = string_end(s, start);
    if (end >= s->length) return bad(s, start, "a string that does not end");
    if (end - start > max)
        return unsupported(s, start, "a name of %zu bytes, more than the limit of %zu", end - start,
                           max);
    char *text = vlmp_arena_alloc(&s->file->arena, end - start + 1, 1);
    if (text == NULL) return vlmp_fail_memory(s->err, s->file->path);
    size_t used = 0;
    while (s->at < end) {
        unsigned char c = (unsigned char)s->text[s->at++];
        if (c < 0x20) return bad(s, s->at - 1, "a control character in a string");
        if (c == '\\')
            VLMP_TRY(escape(s, text, &used));
        else
            text[used++] = (char)c;
    }
    s->at = end + 1;
    text[used] = '\0';
    *out = text;
    *out_length = used;
    return VLMP_OK;
}

static int scan_name(scanner *s, char **out)
{
    size_t at = s->at, length;
    VLMP_TRY(scan_string(s, VLMP_ST_MAX_NAME, out, &length));
    if (length == 0) return unsupported(s, at, "an empty name");
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)(*out)[i] < 0x20 || (*out)[i] == 0x7f)
            return unsupported(s, at, "a control character in a name");
    return VLMP_OK;
}

/* 0 or [1-9][0-9]*, exactly, below 2^63: no sign, fraction, exponent or leading zero. */
static int scan_integer(scanner *s, uint64_t *out)
{
    int first = peek(s);
    size_t at = s->at;
    uint64_t value = 0;
    while (s->at < s->length && s->text[s->at] >= '0' && s->text[s->at] <= '9') {
        uint64_t digit = (uint64_t)(s->text[s->at++] - '0');
        if (value > (INT64_MAX - digit) / 10)
            return unsupported(s, at, "an integer of 2^63 or more");
        value = value * 10 + digit;
    }
    char next = s->at < s->length ? s->text[s->at] : ' ';
    bool leading_zero = first == '0' && s->at - at > 1;
    if (s->at == at || leading_zero || (next != '\0' && strchr(",] \t\r\n}", next) == NULL))
        return bad(s, at, "not a non-negative integer");
    *out = value;
    return VLMP_OK;
}

/* [ a, b, … ]: the first max in out, how many there are in *count. */
static int scan_integers(scanner *s, uint64_t *out, int max, int *count)
{
    VLMP_TRY(expect(s, '['));
    *count = 0;
    if (peek(s) == ']') {
        s->at++;
        return VLMP_OK;
    }
    for (;;) {
        uint64_t value = 0;
        VLMP_TRY(scan_integer(s, &value));
        if (*count < max) out[*count] = value;
        *count += 1; /* a header has fewer than 2^31 bytes */
        if (peek(s) != ',') break;
        s->at++;
    }
    return expect(s, ']');
}

static int scan_dtype(scanner *s, vlmp_st_tensor *tensor)
{
    char *name;
    size_t at = s->at;
    VLMP_TRY(scan_name(s, &name));
    tensor->dtype = vlmp_dtype_from_name(name);
    if (tensor->dtype != VLMP_DTYPE_COUNT) return VLMP_OK;
    return vlmp_fail(s->err, VLMP_ERR_INPUT,
                     "%s: header byte %zu: tensor '%.200s' has the unknown type '%.40s'; convert "
                     "the model to F32, F16 or BF16",
                     s->file->path, at + 8, tensor->name, name);
}

static int scan_member(scanner *s, vlmp_st_tensor *tensor, unsigned *seen)
{
    static const char *const members[] = {"dtype", "shape", "data_offsets"};
    char *key;
    size_t at = s->at;
    VLMP_TRY(scan_name(s, &key));
    VLMP_TRY(expect(s, ':'));
    int which = 0;
    while (which < 3 && strcmp(key, members[which]) != 0)
        which++;
    if (which == 3)
        return unsupported(s, at, "tensor '%.200s' has an unknown member '%.40s'", tensor->name,
                           key);
    if (*seen & 1u << which) return bad(s, at, "tensor '%.200s' has '%s' twice", tensor->name, key);
    *seen |= 1u << which;
    if (which == 0) return scan_dtype(s, tensor);
    uint64_t numbers[VLMP_MAX_RANK];
    int count;
    VLMP_TRY(scan_integers(s, numbers, VLMP_MAX_RANK, &count));
    if (which == 1) {
        if (count > VLMP_MAX_RANK)
            return unsupported(s, at, "tensor '%.200s' has rank %d, more than %d", tensor->name,
                               count, VLMP_MAX_RANK);
        tensor->rank = count;
        for (int i = 0; i < count; i++)
            tensor->shape[i] = (int64_t)numbers[i];
        return VLMP_OK;
    }
    if (count != 2) return bad(s, at, "'data_offsets' of '%.200s' needs two numbers", tensor->name);
    tensor->begin = numbers[0];
    tensor->end = numbers[1];
    return VLMP_OK;
}

static int scan_tensor(scanner *s, const char *name, size_t header_at)
{
    if (s->file->count == VLMP_ST_MAX_TENSORS)
        return unsupported(s, header_at, "more than %zu tensors", VLMP_ST_MAX_TENSORS);
    if (s->file->count == s->tensor_capacity) {
        size_t capacity = s->tensor_capacity == 0 ? 256 : s->tensor_capacity * 2;
        void *grown = realloc(s->file->tensors, capacity * sizeof *s->file->tensors);
        if (grown == NULL) return vlmp_fail_memory(s->err, s->file->path);
        s->file->tensors = grown;
        s->tensor_capacity = capacity;
    }
    vlmp_st_tensor *tensor = &s->file->tensors[s->file->count];
    *tensor = (vlmp_st_tensor){.name = name, .header_at = header_at + 8};
    unsigned seen = 0;
    VLMP_TRY(expect(s, '{'));
    if (peek(s) == '}') return bad(s, s->at, "tensor '%.200s' has no members", name);
    for (;;) {
        skip_space(s);
        VLMP_TRY(scan_member(s, tensor, &seen));
        if (peek(s) != ',') break;
        s->at++;
    }
    VLMP_TRY(expect(s, '}'));
    if (seen != 7)
        return bad(s, header_at, "tensor '%.200s' lacks '%s'", name,
                   !(seen & 1)   ? "dtype"
                   : !(seen & 2) ? "shape"
                                 : "data_offsets");
    s->file->count++;
    return VLMP_OK;
}

static int scan_pair(scanner *s)
{
    if (s->file->pair_count == s->pair_capacity) {
        size_t capacity = s->pair_capacity == 0 ? 16 : s->pair_capacity * 2;
        void *grown = realloc(s->file->pairs, capacity * sizeof *s->file->pairs);
        if (grown == NULL) return vlmp_fail_memory(s->err, s->file->path);
        s->file->pairs = grown;
        s->pair_capacity = capacity;
    }
    char *key, *value;
    size_t at = s->at, length;
    VLMP_TRY(scan_string(s, s->length, &key, &length));
    if (strlen(key) < length) return unsupported(s, at, "\\u0000 in a metadata key");
    if (s->file->pair_count == VLMP_ST_MAX_TENSORS)
        return unsupported(s, at, "more than %zu metadata keys", VLMP_ST_MAX_TENSORS);
    VLMP_TRY(expect(s, ':'));
    if (peek(s) != '"') return bad(s, s->at, "metadata '%.200s' is not a string", key);
    VLMP_TRY(scan_string(s, s->length, &value, &length));
    s->file->pairs[s->file->pair_count++] = (vlmp_st_pair){key, value, length};
    return VLMP_OK;
}

static int scan_metadata(scanner *s, size_t header_at)
{
    if (s->metadata_seen) return bad(s, header_at, "'__metadata__' appears twice");
    s->metadata_seen = true;
    VLMP_TRY(expect(s, '{'));
    if (peek(s) == '}') {
        s->at++;
        return VLMP_OK;
    }
    for (;;) {
        skip_space(s);
        VLMP_TRY(scan_pair(s));
        if (peek(s) != ',') break;
        s->at++;
    }
    return expect(s, '}');
}

int vlmp_st_scan_header(vlmp_safetensors *file, const char *text, size_t length, vlmp_error *err)
{
    scanner s = {.file = file, .text = text, .length = length, .err = err};
    VLMP_TRY(check_utf8(&s));
    if (length == 0 || text[0] != '{') return bad(&s, 0, "the header does not begin with '{'");
    s.at = 1;
    bool empty = peek(&s) == '}';
    if (empty) s.at++;
    while (!empty) {
        skip_space(&s);
        char *name;
        size_t header_at = s.at;
        VLMP_TRY(scan_name(&s, &name));
        VLMP_TRY(expect(&s, ':'));
        if (strcmp(name, "__metadata__") == 0)
            VLMP_TRY(scan_metadata(&s, header_at));
        else
            VLMP_TRY(scan_tensor(&s, name, header_at));
        if (peek(&s) != ',') {
            VLMP_TRY(expect(&s, '}'));
            break;
        }
        s.at++;
    }
    if (peek(&s) >= 0) return bad(&s, s.at, "text after the JSON object");
    return VLMP_OK;
}
