/* Text and tags → tokens, with Jinja's rules for white space (trim_blocks and lstrip_blocks on). */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

#define MAX_BRACKETS 64
#define MAX_DIGITS   64 /* of a number */

typedef struct {
    vlmp_arena *arena;
    const char *text;
    size_t length, at;
    int line;
    bool line_starting; /* the last tag swallowed its line end */
    const char *where;
    vlmp_error *err;
    vlmp_jinja_token *tokens;
    size_t count, capacity;
} lexer;

static int fail(lexer *x, const char *what)
{
    return vlmp_fail(x->err, VLMP_ERR_INPUT, "%s: line %d: %s in the chat template", x->where,
                     x->line, what);
}

static int add(lexer *x, vlmp_jinja_token token)
{
    if (x->count == x->capacity) {
        size_t capacity = x->capacity == 0 ? 256 : x->capacity * 2;
        vlmp_jinja_token *tokens = realloc(x->tokens, capacity * sizeof *tokens);
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
        if (!vlmp_jinja_is_space(vlmp_utf8_next(x->text, x->length, &end))) break;
    return at;
}

static size_t before_space(const lexer *x, size_t start, size_t at)
{
    while (at > start) {
        size_t back = vlmp_utf8_back(x->text, at), end = back;
        if (!vlmp_jinja_is_space(vlmp_utf8_next(x->text, at, &end))) break;
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
        status = add(x, (vlmp_jinja_token){.kind = TOKEN_STRING, .text = {copy, out.length}});
    x->line += (int)lines;
    vlmp_buffer_free(&out);
    return status;
}

static bool is_name(char c, bool first)
{
    return (c | 32) - 'a' + 0u < 26u || c == '_' || (!first && c >= '0' && c <= '9');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits with single underscores between, copied without them; how many characters they take. */
static size_t take_digits(const lexer *x, size_t at, char *out, size_t *length)
{
    size_t start = at;
    while (at < x->length && *length < MAX_DIGITS) {
        char c = x->text[at];
        bool joins = c == '_' && at > start && is_digit(x->text[at - 1]) && at + 1 < x->length &&
                     is_digit(x->text[at + 1]);
        if (!is_digit(c) && !joins) break;
        if (!joins) out[(*length)++] = c;
        at++;
    }
    return at - start;
}

/* An exponent at `at` with its digits, copied; 0: there is none. */
static size_t take_exponent(const lexer *x, size_t at, char *out, size_t *length)
{
    size_t start = at, before = *length;
    if (at >= x->length || (x->text[at] | 32) != 'e' || *length + 2 >= MAX_DIGITS) return 0;
    out[(*length)++] = 'e';
    at++;
    if (at < x->length && (x->text[at] == '+' || x->text[at] == '-'))
        out[(*length)++] = x->text[at++];
    size_t digits = take_digits(x, at, out, length);
    if (digits == 0) *length = before;
    return digits > 0 ? at + digits - start : 0;
}

/* Decimal only: a number such as 0x10 is refused where its letter follows. */
static int lex_number(lexer *x)
{
    char digits[MAX_DIGITS + 1];
    size_t length = 0, start = x->at, more;
    bool after_dot = start > 0 && x->text[start - 1] == '.', real = false;
    x->at += take_digits(x, x->at, digits, &length);
    if (!after_dot && x->at + 1 < x->length && x->text[x->at] == '.' &&
        is_digit(x->text[x->at + 1]) && length < MAX_DIGITS) {
        digits[length++] = '.';
        x->at++;
        x->at += take_digits(x, x->at, digits, &length);
        real = true;
    }
    if (!after_dot && (more = take_exponent(x, x->at, digits, &length)) > 0) {
        x->at += more;
        real = true;
    }
    digits[length] = '\0';
    if (length >= MAX_DIGITS) return fail(x, "a number that is too long");
    if (x->at < x->length && is_name(x->text[x->at], true))
        return fail(x, "a number that is not decimal, which is not supported,");
    errno = 0;
    vlmp_jinja_token token = {.kind = TOKEN_INTEGER};
    if (real) {
        token = (vlmp_jinja_token){.kind = TOKEN_FLOAT, .real = strtod(digits, NULL)};
        return isfinite(token.real) ? add(x, token) : fail(x, "a number that is too large");
    }
    if (digits[0] == '0' && strspn(digits, "0") < length)
        return fail(x, "a number with leading zeros");
    token.number = strtoll(digits, NULL, 10);
    return errno == 0 ? add(x, token) : fail(x, "a number that is too large");
}

static int lex_operator(lexer *x, char *brackets, int *depth)
{
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (!looking_at(x, pairs[i])) continue;
        x->at += 2;
        return add(x, (vlmp_jinja_token){.kind = TOKEN_OPERATOR,
                                         .op = OPERATOR2(pairs[i][0], pairs[i][1])});
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
    return add(x, (vlmp_jinja_token){.kind = TOKEN_OPERATOR, .op = c});
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
    VLMP_TRY(add(x, (vlmp_jinja_token){.kind = print ? TOKEN_PRINT_BEGIN : TOKEN_BLOCK_BEGIN}));
    for (;;) {
        advance(x, after_space(x, x->at));
        if (x->at >= x->length) return fail(x, "a tag without an end");
        int line = x->line;
        if (depth == 0 && at_tag_end(x, print)) {
            VLMP_TRY(add(x, (vlmp_jinja_token){.kind = print ? TOKEN_PRINT_END : TOKEN_BLOCK_END}));
            x->tokens[x->count - 1].line = line;
            return VLMP_OK;
        }
        char c = x->text[x->at];
        if (c == '\'' || c == '"') {
            VLMP_TRY(lex_string(x));
        } else if (c >= '0' && c <= '9') {
            VLMP_TRY(lex_number(x));
        } else if (is_name(c, true)) {
            size_t start = x->at;
            while (x->at < x->length && is_name(x->text[x->at], false))
                x->at++;
            VLMP_TRY(add(x, (vlmp_jinja_token){.kind = TOKEN_NAME,
                                               .text = {x->text + start, x->at - start}}));
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

/* The byte behind `word` if the tag at x->at is that word alone up to its closing sign; else 0. */
static size_t behind_word(const lexer *x, size_t at, const char *word)
{
    size_t length = strlen(word);
    at = after_space(x, at);
    if (x->length - at < length || memcmp(x->text + at, word, length) != 0) return 0;
    return after_space(x, at + length);
}

static bool text_at(const lexer *x, size_t at, const char *text)
{
    size_t length = strlen(text);
    return at <= x->length && x->length - at >= length && memcmp(x->text + at, text, length) == 0;
}

/* The text of a raw block, x->at behind "raw" and before the tag's end; the whole block is left. */
static int lex_raw(lexer *x, size_t tag_end)
{
    bool strip = x->text[tag_end] == '-';
    advance(x, tag_end);
    end_tag(x, strip ? 3 : 2, strip, false);
    size_t start = x->at;
    for (size_t tag = start; tag + 1 < x->length; tag++) {
        if (!text_at(x, tag, "{%")) continue;
        char sign = tag + 2 < x->length ? x->text[tag + 2] : ' ';
        size_t end = behind_word(x, tag + 2 + (sign == '-' || sign == '+'), "endraw");
        char close = end > 0 && end < x->length ? x->text[end] : ' ';
        bool closed = end > 0 && text_at(x, end + (close == '-' || close == '+'), "%}");
        if (!closed) continue;
        size_t stop = data_end(x, start, tag, false, sign);
        if (stop > start)
            VLMP_TRY(add(x, (vlmp_jinja_token){.kind = TOKEN_DATA,
                                               .text = {x->text + start, stop - start}}));
        advance(x, end);
        end_tag(x, close == '-' || close == '+' ? 3 : 2, close == '-', close != '+');
        return VLMP_OK;
    }
    return fail(x, "a raw block without an end");
}

/* A block's tag, or a whole raw block; x->at is behind the opening sign. */
static int lex_block(lexer *x)
{
    size_t end = behind_word(x, x->at, "raw");
    if (end > 0 && (text_at(x, end, "%}") || text_at(x, end, "-%}"))) return lex_raw(x, end);
    return lex_tag(x, false);
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
            VLMP_TRY(add(
                x, (vlmp_jinja_token){.kind = TOKEN_DATA, .text = {x->text + start, end - start}}));
        if (!found) break;
        advance(x, tag + 2 + (sign == '-' || sign == '+'));
        VLMP_TRY(kind == '#' ? lex_comment(x) : kind == '%' ? lex_block(x) : lex_tag(x, true));
    }
    return add(x, (vlmp_jinja_token){.kind = TOKEN_END});
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

int vlmp_jinja_lex(vlmp_arena *arena, const char *source, size_t length, const char *where,
                   vlmp_jinja_token **tokens, vlmp_error *err)
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
