/* Methods that cut a string into pieces. */
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

/* Grows a list of pieces in the arena. */
typedef struct {
    vlmp_jinja_context *c;
    const vlmp_jinja_node *node;
    vlmp_jinja_value *items;
    size_t count, capacity;
} pieces;

static int add(pieces *p, const char *text, size_t length)
{
    if (p->count == p->capacity) {
        size_t capacity = p->capacity == 0 ? 8 : p->capacity * 2;
        vlmp_jinja_value *items = vlmp_jinja_allocate(p->c, p->node, capacity, sizeof *items);
        if (items == NULL) return p->c->err->code;
        if (p->count > 0) memcpy(items, p->items, p->count * sizeof *items);
        p->items = items;
        p->capacity = capacity;
    }
    p->items[p->count++] = vlmp_jinja_string(text, length);
    return VLMP_OK;
}

static void turn(pieces *p)
{
    for (size_t i = 0; i < p->count / 2; i++) {
        vlmp_jinja_value other = p->items[i];
        p->items[i] = p->items[p->count - 1 - i];
        p->items[p->count - 1 - i] = other;
    }
}

static int finish(pieces *p, vlmp_jinja_form form, vlmp_jinja_value *out)
{
    VLMP_TRY(vlmp_jinja_new_list(p->c, p->node, p->count, form, out));
    if (p->count > 0) memcpy(out->list->items, p->items, p->count * sizeof *p->items);
    return VLMP_OK;
}

/* The first byte of white space in text, from the left or behind the last from the right. */
static size_t next_space(vlmp_jinja_text text, bool right)
{
    size_t hit = right ? 0 : text.length;
    for (size_t at = 0, end = 0; at < text.length; at = end) {
        if (!vlmp_jinja_is_space(vlmp_utf8_next(text.text, text.length, &end))) continue;
        hit = right ? end : at;
        if (!right) break;
    }
    return hit;
}

/* At runs of white space, none at either end. */
static int split_spaces(pieces *p, vlmp_jinja_text text, int64_t most, bool right)
{
    for (;;) {
        text = vlmp_jinja_strip(text, NULL, !right, right);
        if (text.length == 0) return VLMP_OK;
        if (most-- == 0) return add(p, text.text, text.length);
        size_t cut = next_space(text, right);
        if (right) {
            VLMP_TRY(add(p, text.text + cut, text.length - cut));
            text.length = cut;
        } else {
            VLMP_TRY(add(p, text.text, cut));
            text.text += cut;
            text.length -= cut;
        }
    }
}

/* Where separator stands first, or last; text.length: nowhere. */
static size_t find(vlmp_jinja_text text, vlmp_jinja_text separator, bool last)
{
    size_t hit = text.length;
    if (text.length < separator.length) return hit;
    for (size_t i = 0; i <= text.length - separator.length; i++) {
        size_t at = last ? text.length - separator.length - i : i;
        if (memcmp(text.text + at, separator.text, separator.length) == 0) return at;
    }
    return hit;
}

static int split_text(pieces *p, vlmp_jinja_text text, vlmp_jinja_text separator, int64_t most,
                      bool right)
{
    while (most-- != 0) {
        size_t at = find(text, separator, right), behind = at + separator.length;
        if (at == text.length) break;
        if (right) {
            VLMP_TRY(add(p, text.text + behind, text.length - behind));
            text.length = at;
        } else {
            VLMP_TRY(add(p, text.text, at));
            text.text += behind;
            text.length -= behind;
        }
    }
    return add(p, text.text, text.length);
}

static int split(pieces *p, vlmp_jinja_text text, const vlmp_jinja_arguments *arguments, bool right,
                 vlmp_jinja_value *out)
{
    const vlmp_jinja_value *given = vlmp_jinja_argument(arguments, 0, "sep");
    const vlmp_jinja_value *limit = vlmp_jinja_argument(arguments, 1, "maxsplit");
    bool any = given == NULL || given->kind == VALUE_NONE;
    if (!any && (given->kind != VALUE_STRING || given->text.length == 0))
        return vlmp_jinja_fail(p->c, p->node, "split by a %s or by nothing",
                               vlmp_jinja_kind_name(given));
    if (arguments->count > 2 || (limit != NULL && limit->kind != VALUE_INTEGER))
        return vlmp_jinja_fail(p->c, p->node, "such arguments of split are not supported");
    int64_t most = limit == NULL || limit->number < 0 ? -1 : limit->number;
    VLMP_TRY(any ? split_spaces(p, text, most, right)
                 : split_text(p, text, given->text, most, right));
    if (right) turn(p);
    return finish(p, FORM_LIST, out);
}

size_t vlmp_jinja_line_end(vlmp_jinja_text text, size_t at, size_t *next)
{
    for (size_t end = at; at < text.length; at = end) {
        uint32_t c = vlmp_utf8_next(text.text, text.length, &end);
        bool ends = (c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 ||
                    c == 0x2028 || c == 0x2029;
        if (!ends) continue;
        if (c == '\r' && end < text.length && text.text[end] == '\n') end++;
        *next = end;
        return at;
    }
    *next = text.length;
    return text.length;
}

static int split_lines(pieces *p, vlmp_jinja_text text, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    bool keep = vlmp_jinja_truth_argument(arguments, 0, "keepends");
    for (size_t at = 0, next = 0; at < text.length; at = next) {
        size_t end = vlmp_jinja_line_end(text, at, &next);
        VLMP_TRY(add(p, text.text + at, (keep ? next : end) - at));
    }
    return finish(p, FORM_LIST, out);
}

static int partition(pieces *p, vlmp_jinja_text text, const vlmp_jinja_arguments *arguments,
                     bool right, vlmp_jinja_value *out)
{
    const vlmp_jinja_value *given = &arguments->positional[0];
    if (arguments->count != 1 || given->kind != VALUE_STRING || given->text.length == 0)
        return vlmp_jinja_fail(p->c, p->node, "such arguments of partition are not supported");
    size_t at = find(text, given->text, right), behind = at + given->text.length;
    if (at < text.length) {
        VLMP_TRY(add(p, text.text, at));
        VLMP_TRY(add(p, text.text + at, given->text.length));
        VLMP_TRY(add(p, text.text + behind, text.length - behind));
        return finish(p, FORM_TUPLE, out);
    }
    for (int i = 0; i < 3; i++)
        VLMP_TRY(add(p, text.text, i == (right ? 2 : 0) ? text.length : 0));
    return finish(p, FORM_TUPLE, out);
}

int vlmp_jinja_split(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                     vlmp_jinja_text name, const vlmp_jinja_arguments *arguments, bool *found,
                     vlmp_jinja_value *out)
{
    pieces p = {.c = c, .node = node};
    *found = true;
    if (vlmp_jinja_text_is(name, "split")) return split(&p, text, arguments, false, out);
    if (vlmp_jinja_text_is(name, "rsplit")) return split(&p, text, arguments, true, out);
    if (vlmp_jinja_text_is(name, "splitlines")) return split_lines(&p, text, arguments, out);
    if (vlmp_jinja_text_is(name, "partition")) return partition(&p, text, arguments, false, out);
    if (vlmp_jinja_text_is(name, "rpartition")) return partition(&p, text, arguments, true, out);
    *found = false;
    return VLMP_OK;
}
