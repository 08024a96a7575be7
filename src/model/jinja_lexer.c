/* Text and tags → tokens, with Jinja's rules for white space (trim_blocks and lstrip_blocks on). */
#include <stdlib.h>
#include <string.h>

#include "src/model/jinja.h"
#include "src/model/unicode_tables.h"

#define MAX_BRACKETS 64

typedef struct {
    vlmp_arena *arena;
    const char *text;
    size_t length, at;
    int line;
    bool line_starting; /* the last tag swallowed its line end */
    const char *where;
    vlmp_error *err;
    jinja_token *tokens;
    size_t count, capacity;
} lexer;

static int fail(lexer *x, const char *what)
{
    return vlmp_fail(x->err, VLMP_ERR_INPUT, "%s: line %d: %s in the chat template", x->where,
                     x->line, what);
}

static int add(lexer *x, jinja_token token)
{
    if (x->count == x->capacity) {
        size_t capacity = x->capacity == 0 ? 256 : x->capacity * 2;
        jinja_token *tokens = realloc(x->tokens, capacity * sizeof *tokens);
        if (tokens == NULL) return vlmp_fail_memory(x->err, x->where);
        x->tokens = tokens;
        x->capacity = capacity;
    }
    token.line = x->line;
    x->tokens[x->count++] = token;
    return VLMP_OK;
}

static void advance(lexer *x, size_t to)
{
    for (; x->at < to; x->at++)
        if (x->text[x->at] == '\n') x->line++;
}

static bool looking_at(const lexer *x, const char *text)
{
    size_t length = strlen(text);
    return x->length - x->at >= length && memcmp(x->text + x->at, text, length) == 0;
}

static size_t after_space(const lexer *x, size_t at)
{
    for (size_t end = at; at < x->length; at = end)
        if (!jinja_is_space(vlmp_utf8_next(x->text, x->length, &end))) break;
    return at;
}

static size_t before_space(const lexer *x, size_t start, size_t at)
{
    while (at > start) {
        size_t back = vlmp_utf8_back(x->text, at), end = back;
        if (!jinja_is_space(vlmp_utf8_next(x->text, at, &end))) break;
        at = back;
    }
    return at;
}

/* The end of a tag whose closing text has `length` bytes at x->at, sign included. */
static void end_tag(lexer *x, size_t length, bool strip, bool trim)
{
    size_t end = x->at + length;
    if (strip)
        end = after_space(x, end);
    else if (trim && end < x->length && x->text[end] == '\n')
        end++;
    advance(x, end);
    x->line_starting = x->text[end - 1] == '\n';
}

/* Data up to a tag: how much of it stays, given the tag's sign. */
static size_t data_end(const lexer *x, size_t start, size_t tag, bool print, char sign)
{
    if (sign == '-') return before_space(x, start, tag);
    if (sign == '+' || print) return tag;
    size_t line = tag;
    while (line > start && x->text[line - 1] != '\n')
        line--;
    if (line == start && !x->line_starting) return tag;
    /* "line" may be start only if the tag before it ended a line, or at the very start. */
    return before_space(x, line, tag) == line ? line : tag;
}

static int hexadecimal(lexer *x, size_t digits, uint32_t *out)
{
    *out = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = x->at < x->length ? x->text[x->at] : '\0';
        int digit = c >= '0' && c <= '9'                 ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0) return fail(x, "a broken escape in a string");
        *out = *out << 4 | (uint32_t)digit;
        x->at++;
    }
    if (*out > 0x10ffff || (*out >= 0xd800 && *out < 0xe000))
        return fail(x, "an escape that is no character in a string");
    return VLMP_OK;
}

/* Python's escapes; x->at is behind the backslash. */
static int escape(lexer *x, vlmp_buffer *out)
{
    static const char plain[] = "n\nt\tr\ra\ab\bf\fv\v\\\\''\"\"";
    char c = x->text[x->at++];
    uint32_t value = 0;
    if (c == '\n') return VLMP_OK;
    for (size_t i = 0; i + 1 < sizeof plain; i += 2) {
        if (c != plain[i]) continue;
        vlmp_buffer_append(out, &plain[i + 1], 1);
        return VLMP_OK;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        VLMP_TRY(hexadecimal(x, c == 'x' ? 2 : c == 'u' ? 4 : 8, &value));
    } else if (c >= '0' && c <= '7') {
        value = (uint32_t)(c - '0');
        for (int i = 0;
             i < 2 && x->at < x->length && x->text[x->at] >= '0' && x->text[x->at] <= '7'; i++)
            value = value << 3 | (uint32_t)(x->text[x->at++] - '0');
    } else if (c == 'N') {
        return fail(x, "the escape \\N is not supported");
    } else {
        vlmp_buffer_append(out, "\\", 1); /* unknown ones keep their backslash */
        x->at--;
        return VLMP_OK;
    }
    char bytes[4];
    vlmp_buffer_append(out, bytes, vlmp_utf8_put(bytes, value));
    return VLMP_OK;
}

static int lex_string(lexer *x)
{
    char quote = x->text[x->at++];
    vlmp_buffer out = {0};
    int status = VLMP_OK;
    size_t lines = 0;
    while (status == VLMP_OK) {
        if (x->at >= x->length) {
            status = fail(x, "a string without an end");
            break;
        }
        char c = x->text[x->at++];
        if (c == quote) break;
        lines += c == '\n';
        if (c == '\\' && x->at < x->length) {
            lines += x->text[x->at] == '\n';
            status = escape(x, &out);
        } else {
            vlmp_buffer_append(&out, &c, 1);
        }
    }
    char *copy = NULL;
    if (status == VLMP_OK) {
        copy = vlmp_arena_copy(x->arena, out.length > 0 ? out.data : "", out.length);
        if (copy == NULL || out.failed) status = vlmp_fail_memory(x->err, x->where);
    }
    if (status == VLMP_OK)
        status = add(x, (jinja_token){.kind = TOKEN_STRING, .text = {copy, out.length}});
    x->line += (int)lines;
    vlmp_buffer_free(&out);
    return status;
}

static int lex_integer(lexer *x)
{
    int64_t value = 0;
    bool after_dot = x->at > 0 && x->text[x->at - 1] == '.';
    while (x->at < x->length) {
        char c = x->text[x->at];
        if (c == '_') {
            x->at++;
            continue;
        }
        if (c < '0' || c > '9') break;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, c - '0', &value))
            return fail(x, "a number that is too large");
        x->at++;
    }
    char c = x->at < x->length ? x->text[x->at] : ' ';
    char next = x->at + 1 < x->length ? x->text[x->at + 1] : ' ';
    if (!after_dot && ((c == '.' && next >= '0' && next <= '9') || c == 'e' || c == 'E'))
        return fail(x, "a floating-point number, which is not supported,");
    return add(x, (jinja_token){.kind = TOKEN_INTEGER, .number = value});
}

static bool is_name(char c, bool first)
{
    return (c | 32) - 'a' + 0u < 26u || c == '_' || (!first && c >= '0' && c <= '9');
}

static int lex_operator(lexer *x, char *brackets, int *depth)
{
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!looking_at(x, pairs[i])) continue;
        x->at += 2;
        return add(
            x, (jinja_token){.kind = TOKEN_OPERATOR, .op = OPERATOR2(pairs[i][0], pairs[i][1])});
    }
    char c = x->text[x->at];
    if (strchr("+-/*%~[](){}><=.:|,;", c) == NULL || c == '\0')
        return fail(x, "an unexpected character");
    if (c == '(' || c == '[' || c == '{') {
        if (*depth == MAX_BRACKETS) return fail(x, "brackets nested too deeply");
        brackets[(*depth)++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (*depth == 0 || brackets[--*depth] != c) return fail(x, "an unmatched bracket");
    }
    x->at++;
    return add(x, (jinja_token){.kind = TOKEN_OPERATOR, .op = c});
}

/* Whether the tag ends here; if so, it is left. */
static bool at_tag_end(lexer *x, bool print)
{
    const char *plain = print ? "}}" : "%}";
    char c = x->text[x->at];
    bool sign = c == '-' || (c == '+' && !print);
    if (sign) x->at++;
    bool found = looking_at(x, plain);
    if (sign) x->at--;
    if (found) end_tag(x, sign ? 3 : 2, c == '-', !print && !sign);
    return found;
}

static int lex_tag(lexer *x, bool print)
{
    char brackets[MAX_BRACKETS];
    int depth = 0;
    VLMP_TRY(add(x, (jinja_token){.kind = print ? TOKEN_PRINT_BEGIN : TOKEN_BLOCK_BEGIN}));
    for (;;) {
        advance(x, after_space(x, x->at));
        if (x->at >= x->length) return fail(x, "a tag without an end");
        int line = x->line;
        if (depth == 0 && at_tag_end(x, print)) {
            VLMP_TRY(add(x, (jinja_token){.kind = print ? TOKEN_PRINT_END : TOKEN_BLOCK_END}));
            x->tokens[x->count - 1].line = line;
            return VLMP_OK;
        }
        char c = x->text[x->at];
        if (c == '\'' || c == '"') {
            VLMP_TRY(lex_string(x));
        } else if (c >= '0' && c <= '9') {
            VLMP_TRY(lex_integer(x));
        } else if (is_name(c, true)) {
            size_t start = x->at;
            while (x->at < x->length && is_name(x->text[x->at], false))
                x->at++;
            VLMP_TRY(add(
                x, (jinja_token){.kind = TOKEN_NAME, .text = {x->text + start, x->at - start}}));
        } else {
            VLMP_TRY(lex_operator(x, brackets, &depth));
        }
    }
}

static int lex_comment(lexer *x)
{
    const char *end = memmem(x->text + x->at, x->length - x->at, "#}", 2);
    if (end == NULL) return fail(x, "a comment without an end");
    size_t stop = (size_t)(end - x->text);
    char sign = stop > x->at ? end[-1] : ' ';
    advance(x, stop);
    end_tag(x, 2, sign == '-', sign != '+');
    return VLMP_OK;
}

static int check_raw(lexer *x)
{
    size_t at = after_space(x, x->at);
    if (x->length - at >= 3 && memcmp(x->text + at, "raw", 3) == 0 &&
        (x->length - at == 3 || !is_name(x->text[at + 3], false)))
        return fail(x, "the tag 'raw', which is not supported,");
    return VLMP_OK;
}

static int lex_all(lexer *x)
{
    while (x->at < x->length) {
        size_t start = x->at, tag = start;
        while (tag + 1 < x->length && !(x->text[tag] == '{' && x->text[tag + 1] != '\0' &&
                                        strchr("{%#", x->text[tag + 1]) != NULL))
            tag++;
        bool found = tag + 1 < x->length;
        if (!found) tag = x->length;
        char kind = found ? x->text[tag + 1] : ' ';
        char sign = tag + 2 < x->length ? x->text[tag + 2] : ' ';
        size_t end = found ? data_end(x, start, tag, kind == '{', sign) : tag;
        if (end > start)
            VLMP_TRY(
                add(x, (jinja_token){.kind = TOKEN_DATA, .text = {x->text + start, end - start}}));
        if (!found) break;
        advance(x, tag + 2 + (sign == '-' || sign == '+'));
        if (kind == '%') VLMP_TRY(check_raw(x));
        VLMP_TRY(kind == '#' ? lex_comment(x) : lex_tag(x, kind == '{'));
    }
    return add(x, (jinja_token){.kind = TOKEN_END});
}

/* CR LF and CR become LF; one line end at the end of the file goes. */
static int normalize_lines(lexer *x, const char *source, size_t length)
{
    char *text = vlmp_arena_alloc(x->arena, length + 1, 1);
    if (text == NULL) return vlmp_fail_memory(x->err, x->where);
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        if (source[i] == '\r' && i + 1 < length && source[i + 1] == '\n') continue;
        text[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n > 0 && text[n - 1] == '\n') n--;
    x->text = text;
    x->length = n;
    return VLMP_OK;
}

int jinja_lex(vlmp_arena *arena, const char *source, size_t length, const char *where,
              jinja_token **tokens, vlmp_error *err)
{
    lexer x = {.arena = arena, .line = 1, .line_starting = true, .where = where, .err = err};
    int status = normalize_lines(&x, source, length);
    if (status == VLMP_OK) status = lex_all(&x);
    if (status != VLMP_OK) {
        free(x.tokens);
        x.tokens = NULL;
    }
    *tokens = x.tokens;
    return status;
}
