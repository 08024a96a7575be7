/* Filters that put sequences in order, in parts and together. */
#include <string.h>

#include "src/text/template/jinja.h"

/* Items and what they are sorted by; a stable merge sort, since a comparison may fail. */
typedef struct {
    vlmp_jinja_context *c;
    const vlmp_jinja_node *node;
    bool reverse;
    bool equal_first; /* compare as lists do: equal values need no order */
} sorter;

typedef struct {
    vlmp_jinja_value key, value;
} sort_row;

static int comes_after(const sorter *s, const sort_row *a, const sort_row *b, bool *out)
{
    int sign;
    bool same = false;
    if (s->equal_first) VLMP_TRY(vlmp_jinja_equal(s->c, s->node, &a->key, &b->key, &same));
    *out = false;
    if (same) return VLMP_OK;
    VLMP_TRY(vlmp_jinja_order(s->c, s->node, &a->key, &b->key, &sign));
    *out = s->reverse ? sign < 0 : sign > 0;
    return VLMP_OK;
}

static int merge(const sorter *s, const sort_row *rows, size_t start, size_t middle, size_t end,
                 sort_row *out)
{
    size_t a = start, b = middle;
    for (size_t i = start; i < end; i++) {
        bool second = a == middle;
        if (a < middle && b < end) VLMP_TRY(comes_after(s, &rows[a], &rows[b], &second));
        out[i] = second ? rows[b++] : rows[a++];
    }
    return VLMP_OK;
}

static int sort_rows(const sorter *s, sort_row *rows, size_t count)
{
    sort_row *other = vlmp_jinja_allocate(s->c, s->node, count, sizeof *other);
    if (other == NULL) return s->c->err->code;
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t end = start + 2 * width < count ? start + 2 * width : count;
            VLMP_TRY(merge(s, rows, start, middle, end, other));
        }
        memcpy(rows, other, count * sizeof *rows);
    }
    return VLMP_OK;
}

/* The items of value with their keys. */
static int make_rows(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                     const vlmp_jinja_value *value, const vlmp_jinja_value *attribute, bool lower,
                     sort_row **rows, size_t *count)
{
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    *count = list->count;
    *rows = vlmp_jinja_allocate(c, node, list->count, sizeof **rows);
    if (*rows == NULL) return c->err->code;
    for (size_t i = 0; i < list->count; i++) {
        (*rows)[i].value = list->items[i];
        VLMP_TRY(vlmp_jinja_path(c, node, &list->items[i], attribute, lower, &(*rows)[i].key));
    }
    return VLMP_OK;
}

static int take_values(vlmp_jinja_context *c, const vlmp_jinja_node *node, const sort_row *rows,
                       size_t count, vlmp_jinja_value *out)
{
    VLMP_TRY(vlmp_jinja_new_list(c, node, count, FORM_LIST, out));
    for (size_t i = 0; i < count; i++)
        out->list->items[i] = rows[i].value;
    return VLMP_OK;
}

/* sort(reverse, case_sensitive, attribute); the attribute may be several, with commas. */
static int filter_sort(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    const sorter s = {c, node, vlmp_jinja_truth_argument(arguments, 0, "reverse"), true};
    bool lower = !vlmp_jinja_truth_argument(arguments, 1, "case_sensitive");
    const vlmp_jinja_value *attribute = vlmp_jinja_argument(arguments, 2, "attribute");
    sort_row *rows;
    size_t count;
    if (attribute != NULL && attribute->kind == VALUE_STRING && attribute->text.length > 0 &&
        memchr(attribute->text.text, ',', attribute->text.length) != NULL)
        return vlmp_jinja_fail(c, node, "sort by several attributes is not supported");
    VLMP_TRY(make_rows(c, node, value, attribute, lower, &rows, &count));
    VLMP_TRY(sort_rows(&s, rows, count));
    return take_values(c, node, rows, count, out);
}

/* dictsort(case_sensitive, by, reverse) */
static int filter_dictsort(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                           const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                           vlmp_jinja_value *out)
{
    const sorter s = {c, node, vlmp_jinja_truth_argument(arguments, 2, "reverse"), false};
    bool lower = !vlmp_jinja_truth_argument(arguments, 0, "case_sensitive"), found;
    vlmp_jinja_text by = {"key", 3};
    vlmp_jinja_value items;
    VLMP_TRY(vlmp_jinja_text_argument(c, node, arguments, 1, "by", &by));
    bool by_value = vlmp_jinja_text_is(by, "value");
    if (value->kind != VALUE_DICT || (!by_value && !vlmp_jinja_text_is(by, "key")))
        return vlmp_jinja_fail(c, node, "dictsort of a %s, or by such a part",
                               vlmp_jinja_kind_name(value));
    const vlmp_jinja_arguments none = {.count = 0};
    VLMP_TRY(
        vlmp_jinja_method(c, node, value, (vlmp_jinja_text){"items", 5}, &none, &found, &items));
    vlmp_jinja_value position = vlmp_jinja_integer(by_value);
    sort_row *rows;
    size_t count;
    VLMP_TRY(make_rows(c, node, &items, &position, lower, &rows, &count));
    VLMP_TRY(sort_rows(&s, rows, count));
    return take_values(c, node, rows, count, out);
}

/* groupby(attribute, default, case_sensitive): tuples of a key and its items. */
static int filter_groupby(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                          vlmp_jinja_value *out)
{
    const sorter s = {c, node, false, false};
    const vlmp_jinja_value *attribute = vlmp_jinja_argument(arguments, 0, "attribute");
    bool lower = !vlmp_jinja_truth_argument(arguments, 2, "case_sensitive");
    sort_row *rows;
    size_t count, groups = 0;
    if (attribute == NULL || vlmp_jinja_argument(arguments, 1, "default") != NULL)
        return vlmp_jinja_fail(c, node, "groupby without an attribute, or with a default");
    VLMP_TRY(make_rows(c, node, value, attribute, lower, &rows, &count));
    VLMP_TRY(sort_rows(&s, rows, count));
    VLMP_TRY(vlmp_jinja_new_list(c, node, count, FORM_LIST, out));
    for (size_t start = 0, end; start < count; start = end) {
        bool same = true;
        for (end = start + 1; end < count && same; end += same)
            VLMP_TRY(vlmp_jinja_equal(c, node, &rows[start].key, &rows[end].key, &same));
        vlmp_jinja_value *group = &out->list->items[groups++];
        VLMP_TRY(vlmp_jinja_new_list(c, node, 2, FORM_TUPLE, group));
        group->list->group = true;
        VLMP_TRY(
            vlmp_jinja_path(c, node, &rows[start].value, attribute, false, group->list->items));
        VLMP_TRY(take_values(c, node, rows + start, end - start, group->list->items + 1));
    }
    out->list->count = groups;
    return VLMP_OK;
}

static int filter_unique(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    bool lower = !vlmp_jinja_truth_argument(arguments, 0, "case_sensitive");
    sort_row *rows;
    size_t count, kept = 0;
    VLMP_TRY(make_rows(c, node, value, vlmp_jinja_argument(arguments, 1, "attribute"), lower, &rows,
                       &count));
    for (size_t i = 0; i < count; i++) {
        bool seen = false;
        if (rows[i].key.kind == VALUE_DICT || rows[i].key.kind == VALUE_LIST)
            return vlmp_jinja_fail(c, node, "unique of a %s", vlmp_jinja_kind_name(&rows[i].key));
        for (size_t k = 0; k < kept && !seen; k++)
            VLMP_TRY(vlmp_jinja_equal(c, node, &rows[i].key, &rows[k].key, &seen));
        if (!seen) rows[kept++] = rows[i];
    }
    VLMP_TRY(take_values(c, node, rows, kept, out));
    out->list->form = FORM_ITERATOR;
    return VLMP_OK;
}

static int extreme(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                   const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments, int wanted,
                   vlmp_jinja_value *out)
{
    bool lower = !vlmp_jinja_truth_argument(arguments, 0, "case_sensitive");
    sort_row *rows;
    size_t count, best = 0;
    int sign;
    VLMP_TRY(make_rows(c, node, value, vlmp_jinja_argument(arguments, 1, "attribute"), lower, &rows,
                       &count));
    *out = vlmp_jinja_undefined((vlmp_jinja_text){"an item of an empty list", 24});
    for (size_t i = 1; i < count; i++) {
        VLMP_TRY(vlmp_jinja_order(c, node, &rows[i].key, &rows[best].key, &sign));
        if (sign * wanted > 0) best = i;
    }
    if (count > 0) *out = rows[best].value;
    return VLMP_OK;
}

static int filter_max(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out)
{
    return extreme(c, node, value, arguments, 1, out);
}

static int filter_min(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out)
{
    return extreme(c, node, value, arguments, -1, out);
}

/* sum(attribute, start) */
static int filter_sum(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out)
{
    const vlmp_jinja_value *start = vlmp_jinja_argument(arguments, 1, "start");
    sort_row *rows;
    size_t count;
    VLMP_TRY(make_rows(c, node, value, vlmp_jinja_argument(arguments, 0, "attribute"), false, &rows,
                       &count));
    vlmp_jinja_value sum = start != NULL ? *start : vlmp_jinja_integer(0);
    for (size_t i = 0; i < count; i++) {
        if (sum.kind == VALUE_STRING || sum.kind == VALUE_FLOAT || rows[i].key.kind == VALUE_FLOAT)
            return vlmp_jinja_fail(
                c, node, "sum of a %s is not supported",
                vlmp_jinja_kind_name(&rows[i].key)); /* Python compensates rounding */
        vlmp_jinja_value before = sum;
        VLMP_TRY(vlmp_jinja_binary(c, node, '+', &before, &rows[i].key, &sum));
    }
    *out = sum;
    return VLMP_OK;
}

/* batch(linecount, fill_with) and slice(slices, fill_with): lists of part of the items. */
static int put_part(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_list *list,
                    size_t start, size_t count, size_t filled, const vlmp_jinja_value *fill,
                    vlmp_jinja_value *out)
{
    VLMP_TRY(vlmp_jinja_new_list(c, node, filled, FORM_LIST, out));
    for (size_t i = 0; i < filled; i++)
        out->list->items[i] = i < count ? list->items[start + i] : *fill;
    return VLMP_OK;
}

static int filter_batch(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    int64_t size = 0;
    const vlmp_jinja_value *fill = vlmp_jinja_argument(arguments, 1, "fill_with");
    bool fills = fill != NULL && fill->kind != VALUE_NONE;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 0, "linecount", &size));
    if (size < 1 || size > 100000) return vlmp_jinja_fail(c, node, "batch of such a length");
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    size_t part = (size_t)size, parts = (list->count + part - 1) / part;
    VLMP_TRY(vlmp_jinja_new_list(c, node, parts, FORM_ITERATOR, out));
    for (size_t i = 0; i < parts; i++) {
        size_t left = list->count - i * part, count = left < part ? left : part;
        VLMP_TRY(put_part(c, node, list, i * part, count, fills ? part : count, fill,
                          &out->list->items[i]));
    }
    return VLMP_OK;
}

static int filter_slice(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    int64_t slices = 0;
    const vlmp_jinja_value *fill = vlmp_jinja_argument(arguments, 1, "fill_with");
    bool fills = fill != NULL && fill->kind != VALUE_NONE;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_integer_argument(c, node, arguments, 0, "slices", &slices));
    if (slices < 1 || slices > 100000) return vlmp_jinja_fail(c, node, "slice into so many parts");
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    size_t parts = (size_t)slices, each = list->count / parts, longer = list->count % parts;
    VLMP_TRY(vlmp_jinja_new_list(c, node, parts, FORM_ITERATOR, out));
    for (size_t i = 0, start = 0; i < parts; i++) {
        size_t count = each + (i < longer);
        VLMP_TRY(put_part(c, node, list, start, count, count + (fills && i >= longer), fill,
                          &out->list->items[i]));
        start += count;
    }
    return VLMP_OK;
}

static int filter_join(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    vlmp_jinja_text separator = {"", 0}, text;
    vlmp_buffer joined = {0};
    sort_row *rows;
    size_t count;
    int status = VLMP_OK;
    VLMP_TRY(vlmp_jinja_text_argument(c, node, arguments, 0, "d", &separator));
    VLMP_TRY(make_rows(c, node, value, vlmp_jinja_argument(arguments, 1, "attribute"), false, &rows,
                       &count));
    for (size_t i = 0; i < count && status == VLMP_OK; i++) {
        if (i > 0) vlmp_buffer_append(&joined, separator.text, separator.length);
        status = vlmp_jinja_to_text(c, node, &rows[i].key, &text);
        if (status == VLMP_OK) vlmp_buffer_append(&joined, text.text, text.length);
        if (joined.length > (size_t)16 << 20)
            status = vlmp_jinja_fail(c, node, "a text grows too long");
    }
    return vlmp_jinja_from_buffer(c, node, &joined, status, out);
}

static int filter_list(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    (void)arguments;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    VLMP_TRY(vlmp_jinja_new_list(c, node, list->count, FORM_LIST, out));
    if (list->count > 0) memcpy(out->list->items, list->items, list->count * sizeof *list->items);
    return VLMP_OK;
}

/* Of a text a text; else what reversed() gives. */
static int filter_reverse(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                          vlmp_jinja_value *out)
{
    vlmp_jinja_value bounds[3] = {
        {.kind = VALUE_NONE}, {.kind = VALUE_NONE}, vlmp_jinja_integer(-1)};
    bool reversible = value->kind != VALUE_LIST || value->list->form != FORM_ITERATOR;
    if (value->kind == VALUE_STRING) return vlmp_jinja_slice(c, node, value, bounds, out);
    vlmp_jinja_value list;
    VLMP_TRY(filter_list(c, node, value, arguments, &list));
    VLMP_TRY(vlmp_jinja_slice(c, node, &list, bounds, out));
    out->list->form = reversible ? FORM_ITERATOR : FORM_LIST;
    return VLMP_OK;
}

static int filter_first(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                        vlmp_jinja_value *out)
{
    (void)arguments;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    *out = vlmp_jinja_undefined((vlmp_jinja_text){"an item of an empty list", 24});
    if (list->count == 0) return VLMP_OK;
    *out = list->items[0];
    if (value->kind == VALUE_LIST && value->list->form == FORM_ITERATOR) { /* the rest stays */
        value->list->items = list->items + 1;
        value->list->count = list->count - 1;
    }
    return VLMP_OK;
}

static int filter_last(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out)
{
    (void)arguments;
    vlmp_jinja_list *list;
    if (value->kind == VALUE_LIST && value->list->form == FORM_ITERATOR)
        return vlmp_jinja_fail(c, node, "the last item of an iterator; put | list before it");
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    *out = vlmp_jinja_undefined((vlmp_jinja_text){"an item of an empty list", 24});
    if (list->count > 0) *out = list->items[list->count - 1];
    return VLMP_OK;
}

static int filter_length(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                         vlmp_jinja_value *out)
{
    (void)arguments;
    vlmp_jinja_list *list;
    if (value->kind == VALUE_STRING) {
        *out = vlmp_jinja_integer((int64_t)vlmp_jinja_characters(value->text));
        return VLMP_OK;
    }
    if (value->kind == VALUE_LIST && value->list->form == FORM_ITERATOR)
        return vlmp_jinja_fail(c, node, "the length of an iterator; put | list before it");
    VLMP_TRY(vlmp_jinja_to_list(c, node, value, &list));
    *out = vlmp_jinja_integer((int64_t)list->count);
    return VLMP_OK;
}

const vlmp_jinja_filter_entry vlmp_jinja_list_filters[] = {
    {"batch", filter_batch, 2, "linecount fill_with"},
    {"count", filter_length, 0, ""},
    {"dictsort", filter_dictsort, 3, "case_sensitive by reverse"},
    {"first", filter_first, 0, ""},
    {"groupby", filter_groupby, 3, "attribute default case_sensitive"},
    {"join", filter_join, 2, "d attribute"},
    {"last", filter_last, 0, ""},
    {"length", filter_length, 0, ""},
    {"list", filter_list, 0, ""},
    {"max", filter_max, 2, "case_sensitive attribute"},
    {"min", filter_min, 2, "case_sensitive attribute"},
    {"reverse", filter_reverse, 0, ""},
    {"slice", filter_slice, 2, "slices fill_with"},
    {"sort", filter_sort, 3, "reverse case_sensitive attribute"},
    {"sum", filter_sum, 2, "attribute start"},
    {"unique", filter_unique, 2, "case_sensitive attribute"},
    {NULL, NULL, 0, NULL},
};
