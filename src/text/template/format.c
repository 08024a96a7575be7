/* Python's two ways to format: text % values and text.format(…). What depends on repr() is refused.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

#define MAX_WIDTH     1000
#define MAX_PRECISION 100
#define MAX_NUMBER    1500 /* bytes: a double has at most 309 digits before its point */

/* What stands behind % or the colon of {…:…}. */
typedef struct {
    vlmp_jinja_text fill; /* one character */
    char align;           /* < > ^ =, 0: not given */
    char sign;            /* + - or space */
    bool zero, alternative;
    char group; /* , _ or 0 */
    int width;
    int precision; /* −1: not given */
    char type;     /* 0: not given */
} format_spec;

typedef struct {
    vlmp_jinja_context *c;
    const vlmp_jinja_node *node;
    vlmp_jinja_text text;
    size_t at;
    vlmp_buffer out;
} formatter;

static int refuse(const formatter *f)
{
    return vlmp_jinja_fail(f->c, f->node, "the format '%.*s' is wrong or not supported",
                           (int)(f->text.length < 60 ? f->text.length : 60), f->text.text);
}

static char current(const formatter *f)
{
    return f->at < f->text.length ? f->text.text[f->at] : '\0';
}

/* Digits as a number up to `most`; −1: none, −2: too large. */
static int read_number(formatter *f, int most)
{
    int number = -1;
    for (; current(f) >= '0' && current(f) <= '9'; f->at++) {
        number = (number < 0 ? 0 : number) * 10 + (current(f) - '0');
        if (number > most) return -2;
    }
    return number;
}

static int put_padded(formatter *f, const format_spec *s, vlmp_jinja_text sign,
                      vlmp_jinja_text body, char align)
{
    size_t have = sign.length + vlmp_jinja_characters(body);
    size_t missing = (size_t)s->width > have ? (size_t)s->width - have : 0;
    size_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
    vlmp_jinja_text fill = s->fill.length > 0 ? s->fill : (vlmp_jinja_text){" ", 1};
    if (align == '=') vlmp_buffer_append(&f->out, sign.text, sign.length);
    for (size_t i = 0; i < before; i++)
        vlmp_buffer_append(&f->out, fill.text, fill.length);
    if (align != '=') vlmp_buffer_append(&f->out, sign.text, sign.length);
    vlmp_buffer_append(&f->out, body.text, body.length);
    for (size_t i = before; i < missing; i++)
        vlmp_buffer_append(&f->out, fill.text, fill.length);
    return VLMP_OK;
}

static int put_string(formatter *f, const format_spec *s, const vlmp_jinja_value *value)
{
    vlmp_jinja_text text;
    VLMP_TRY(vlmp_jinja_to_text(f->c, f->node, value, &text));
    if (s->precision >= 0) {
        size_t end = 0;
        for (int i = 0; i < s->precision && end < text.length; i++)
            vlmp_utf8_next(text.text, text.length, &end);
        text.length = end;
    }
    return put_padded(f, s, (vlmp_jinja_text){"", 0}, text, s->align != 0 ? s->align : '<');
}

/* Digits with a sign between each `size` of them. */
static void put_groups(char out[MAX_NUMBER], const char *digits, char group)
{
    size_t whole = strspn(digits, "0123456789"), n = 0;
    for (size_t i = 0; digits[i] != '\0' && n + 2 < MAX_NUMBER; i++) {
        if (group != 0 && i > 0 && i < whole && (whole - i) % 3 == 0) out[n++] = group;
        out[n++] = digits[i];
    }
    out[n] = '\0';
}

static int put_number(formatter *f, const format_spec *s, bool negative, const char *digits)
{
    char grouped[MAX_NUMBER], sign[2] = {negative ? '-' : s->sign == '-' ? '\0' : s->sign, '\0'};
    if (s->group != 0 && s->zero) return refuse(f);
    put_groups(grouped, digits, s->group);
    format_spec padded = *s;
    char align = s->align != 0 ? s->align : '>';
    if (s->zero && s->align == 0) {
        padded.fill = (vlmp_jinja_text){"0", 1};
        align = '=';
    }
    return put_padded(f, &padded, (vlmp_jinja_text){sign, strlen(sign)},
                      (vlmp_jinja_text){grouped, strlen(grouped)}, align);
}

static int put_integer(formatter *f, const format_spec *s, int64_t number)
{
    char digits[70] = "";
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    int base = s->type == 'x' || s->type == 'X' ? 16 : s->type == 'o' ? 8 : s->type == 'b' ? 2 : 10;
    char reversed[70];
    int n = 0;
    do {
        reversed[n++] =
            (s->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[size % (unsigned)base];
        size /= (unsigned)base;
    } while (size > 0);
    for (int i = 0; i < n; i++)
        digits[i] = reversed[n - 1 - i];
    digits[n] = '\0';
    if (s->group != 0 && base != 10) return refuse(f);
    return put_number(f, s, number < 0, digits);
}

static int put_real(formatter *f, const format_spec *s, double real)
{
    char format[] = "%.*f", digits[MAX_NUMBER];
    int precision = s->precision >= 0 ? s->precision : 6;
    bool percent = s->type == '%';
    format[3] = percent ? 'f' : s->type;
    if (!isfinite(percent ? real * 100 : real)) return refuse(f);
    snprintf(digits, sizeof digits - 1, format, precision, fabs(percent ? real * 100 : real));
    if (percent) strcat(digits, "%");
    return put_number(f, s, signbit(real) != 0, digits);
}

static bool is_real_type(char type)
{
    return type != '\0' && strchr("eEfFgG%", type) != NULL;
}

/* The conversions of text % values. */
static int put_percent(formatter *f, const format_spec *s, const vlmp_jinja_value *value)
{
    bool number = vlmp_jinja_is_number(value);
    format_spec plain = *s;
    if (s->alternative) return refuse(f);
    if (s->type == 's') {
        plain.align = s->align == '<' ? '<' : '>';
        return put_string(f, &plain, value);
    }
    if (s->type == 'c') {
        if (value->kind != VALUE_STRING || vlmp_jinja_characters(value->text) != 1)
            return refuse(f);
        plain.align = s->align == '<' ? '<' : '>';
        plain.precision = -1;
        return put_string(f, &plain, value);
    }
    if (!number || strchr("diuxXoeEfFgG", s->type) == NULL) return refuse(f);
    if (is_real_type(s->type)) return put_real(f, s, vlmp_jinja_real_of(value));
    bool decimal = strchr("diu", s->type) != NULL;
    if (s->precision >= 0 || (value->kind == VALUE_FLOAT && !decimal)) return refuse(f);
    if (value->kind == VALUE_FLOAT) {
        if (fabs(value->real) >= 0x1p62) return refuse(f);
        return put_integer(f, s, (int64_t)value->real);
    }
    return put_integer(f, s, vlmp_jinja_integer_of(value));
}

/* %[(name)][flags][width][.precision]type, f->at behind the percent sign. */
static int read_percent(formatter *f, format_spec *s, vlmp_jinja_text *name)
{
    *s = (format_spec){.sign = '-', .precision = -1};
    if (current(f) == '(') {
        size_t start = ++f->at;
        while (f->at < f->text.length && current(f) != ')')
            f->at++;
        *name = (vlmp_jinja_text){f->text.text + start, f->at - start};
        f->at++;
    }
    for (; current(f) != '\0' && strchr("-+ 0#", current(f)) != NULL; f->at++) {
        char flag = current(f);
        if (flag == '-') s->align = '<';
        if (flag == '0') s->zero = true;
        if (flag == '#') s->alternative = true;
        if (flag == '+' || (flag == ' ' && s->sign != '+')) s->sign = flag;
    }
    int width = read_number(f, MAX_WIDTH);
    if (width == -2 || current(f) == '*') return refuse(f);
    s->width = width > 0 ? width : 0;
    if (current(f) == '.') {
        f->at++;
        s->precision = read_number(f, MAX_PRECISION);
        if (s->precision == -2 || current(f) == '*') return refuse(f);
        if (s->precision < 0) s->precision = 0;
    }
    if (current(f) == 'h' || current(f) == 'l' || current(f) == 'L') f->at++;
    s->type = current(f);
    f->at++;
    return s->type == '\0' ? refuse(f) : VLMP_OK;
}

static int convert_all(formatter *f, const vlmp_jinja_list *values, const vlmp_jinja_dict *named)
{
    size_t used = 0;
    while (f->at < f->text.length) {
        format_spec s;
        vlmp_jinja_text name = {NULL, 0};
        const vlmp_jinja_value *value;
        if (current(f) != '%') {
            vlmp_buffer_append(&f->out, f->text.text + f->at++, 1);
            continue;
        }
        f->at++;
        VLMP_TRY(read_percent(f, &s, &name));
        if (s.type == '%') {
            vlmp_buffer_text(&f->out, "%");
            continue;
        }
        if (name.text != NULL)
            value = named != NULL ? vlmp_jinja_dict_find(named, name) : NULL;
        else
            value = used < values->count ? &values->items[used++] : NULL;
        if (value == NULL) return vlmp_jinja_fail(f->c, f->node, "a format lacks an argument");
        VLMP_TRY(put_percent(f, &s, value));
    }
    if (named == NULL && used < values->count)
        return vlmp_jinja_fail(f->c, f->node, "a format with more arguments than it uses");
    return VLMP_OK;
}

int vlmp_jinja_percent(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                       const vlmp_jinja_list *values, const vlmp_jinja_dict *named,
                       vlmp_jinja_value *out)
{
    formatter f = {.c = c, .node = node, .text = text};
    int status = convert_all(&f, values, named);
    return vlmp_jinja_from_buffer(c, node, &f.out, status, out);
}

/* [[fill]align][sign][0][width][,][.precision][type], up to the closing brace. */
static int read_spec(formatter *f, format_spec *s)
{
    *s = (format_spec){.sign = '-', .precision = -1};
    size_t next = f->at;
    if (f->at < f->text.length) vlmp_utf8_next(f->text.text, f->text.length, &next);
    char behind = next < f->text.length ? f->text.text[next] : '\0';
    if (behind != '\0' && strchr("<>^=", behind) != NULL) {
        s->fill = (vlmp_jinja_text){f->text.text + f->at, next - f->at};
        s->align = behind;
        f->at = next + 1;
        if (s->fill.text[0] == '{' || s->fill.text[0] == '}') return refuse(f);
    } else if (current(f) != '\0' && strchr("<>^=", current(f)) != NULL) {
        s->align = f->text.text[f->at++];
    }
    if (current(f) == '+' || current(f) == '-' || current(f) == ' ')
        s->sign = f->text.text[f->at++];
    if (current(f) == '0') {
        s->zero = true;
        f->at++;
    }
    int width = read_number(f, MAX_WIDTH);
    if (width == -2) return refuse(f);
    s->width = width > 0 ? width : 0;
    if (current(f) == ',' || current(f) == '_') s->group = f->text.text[f->at++];
    if (current(f) == '.') {
        f->at++;
        s->precision = read_number(f, MAX_PRECISION);
        if (s->precision < 0) return refuse(f);
    }
    if (current(f) != '}' && current(f) != '\0') s->type = f->text.text[f->at++];
    return current(f) == '}' ? VLMP_OK : refuse(f);
}

static int put_formatted(formatter *f, const format_spec *s, const vlmp_jinja_value *value)
{
    bool number = vlmp_jinja_is_number(value), integer = number && value->kind != VALUE_FLOAT;
    bool plain = s->type == 0 && s->width == 0 && s->precision < 0 && s->group == 0 &&
                 s->align == 0 && s->sign == '-' && !s->zero;
    if (plain || (value->kind == VALUE_STRING && (s->type == 0 || s->type == 's'))) {
        if (s->align == '=' || s->zero || s->sign != '-' || s->group != 0) return refuse(f);
        return put_string(f, s, value);
    }
    if (!number || (s->zero && s->align != 0)) return refuse(f);
    if (is_real_type(s->type)) return put_real(f, s, vlmp_jinja_real_of(value));
    if (!integer || s->precision >= 0) return refuse(f);
    if (s->type != 0 && strchr("dxXob", s->type) == NULL) return refuse(f);
    return put_integer(f, s, vlmp_jinja_integer_of(value));
}

/* name, then .attribute and [key] as often as they come. */
static int find_field(formatter *f, const vlmp_jinja_arguments *arguments, int *automatic,
                      vlmp_jinja_value *out)
{
    size_t start = f->at;
    int number = read_number(f, VLMP_JINJA_MAX_ARGUMENTS);
    while (current(f) != '\0' && strchr(".[:!}{", current(f)) == NULL)
        f->at++;
    vlmp_jinja_text name = {f->text.text + start, f->at - start};
    bool given = name.length > 0, by_number = !given || number >= 0;
    if (number == -2 || (given && by_number && *automatic > 0) || (!given && *automatic < 0))
        return refuse(f);
    if (!given) number = (*automatic)++;
    if (given && by_number) *automatic = -1;
    const vlmp_jinja_value *value = by_number ? vlmp_jinja_argument(arguments, number, "") : NULL;
    for (int i = 0; !by_number && i < arguments->named_count; i++)
        if (vlmp_jinja_same_text(arguments->names[i], name)) value = &arguments->named[i];
    if (value == NULL) return vlmp_jinja_fail(f->c, f->node, "a format lacks an argument");
    *out = *value;
    while (current(f) == '.' || current(f) == '[') {
        bool bracket = current(f) == '[';
        start = ++f->at;
        while (current(f) != '\0' && strchr(bracket ? "]" : ".[:!}{", current(f)) == NULL)
            f->at++;
        vlmp_jinja_text part = {f->text.text + start, f->at - start};
        vlmp_jinja_value key = vlmp_jinja_string(part.text, part.length);
        int64_t index;
        if (bracket && vlmp_jinja_read_integer(part, &index)) key = vlmp_jinja_integer(index);
        if (out->kind != VALUE_LIST && out->kind != VALUE_DICT) return refuse(f);
        if (!bracket) return refuse(f); /* attributes of Python's objects */
        vlmp_jinja_value outer = *out;
        VLMP_TRY(vlmp_jinja_item(f->c, f->node, &outer, &key, out));
        if (out->kind == VALUE_UNDEFINED) return refuse(f);
        f->at++;
    }
    return VLMP_OK;
}

static int format_field(formatter *f, const vlmp_jinja_arguments *arguments, int *automatic)
{
    vlmp_jinja_value value;
    format_spec s = {.sign = '-', .precision = -1};
    VLMP_TRY(find_field(f, arguments, automatic, &value));
    if (current(f) == '!') {
        if (f->at + 1 >= f->text.length || f->text.text[f->at + 1] != 's') return refuse(f);
        f->at += 2;
        vlmp_jinja_text text;
        VLMP_TRY(vlmp_jinja_to_text(f->c, f->node, &value, &text));
        value = vlmp_jinja_string(text.text, text.length);
    }
    if (current(f) == ':') {
        f->at++;
        VLMP_TRY(read_spec(f, &s));
    }
    if (current(f) != '}') return refuse(f);
    f->at++;
    return put_formatted(f, &s, &value);
}

int vlmp_jinja_format(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                      const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out)
{
    formatter f = {.c = c, .node = node, .text = text};
    int status = VLMP_OK, automatic = 0;
    while (f.at < text.length && status == VLMP_OK) {
        char brace = current(&f);
        bool doubled = f.at + 1 < text.length && text.text[f.at + 1] == brace;
        if ((brace == '{' || brace == '}') && !doubled) {
            f.at++;
            status = brace == '{' ? format_field(&f, arguments, &automatic) : refuse(&f);
            continue;
        }
        vlmp_buffer_append(&f.out, &brace, 1);
        f.at += brace == '{' || brace == '}' ? 2 : 1;
    }
    return vlmp_jinja_from_buffer(c, node, &f.out, status, out);
}
