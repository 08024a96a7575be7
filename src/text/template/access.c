/* Attributes, items and slices of values. */
#include <string.h>

#include "src/text/template/jinja.h"

static int undefined_used(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_value *value)
{
    return vlmp_jinja_fail(c, node, "'%.*s' is undefined",
                           (int)(value->text.length < 60 ? value->text.length : 60),
                           value->text.text);
}

/* Python finds an object's methods as its attributes; without a call they are no use here. */
static int check_method(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                        const vlmp_jinja_value *a, vlmp_jinja_text name)
{
    if (!vlmp_jinja_has_method(a, name)) return VLMP_OK;
    return vlmp_jinja_fail(c, node, "the method '%.*s' of a %s without a call is not supported",
                           (int)(name.length < 60 ? name.length : 60), name.text,
                           vlmp_jinja_kind_name(a));
}

static int loop_attribute(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_loop *loop, vlmp_jinja_text name, vlmp_jinja_value *out)
{
    int64_t index = (int64_t)loop->index, count = (int64_t)loop->list->count;
    *out = (vlmp_jinja_value){.kind = VALUE_INTEGER};
    if (vlmp_jinja_text_is(name, "index")) {
        out->number = index + 1;
    } else if (vlmp_jinja_text_is(name, "index0")) {
        out->number = index;
    } else if (vlmp_jinja_text_is(name, "length")) {
        out->number = count;
    } else if (vlmp_jinja_text_is(name, "revindex")) {
        out->number = count - index;
    } else if (vlmp_jinja_text_is(name, "revindex0")) {
        out->number = count - index - 1;
    } else if (vlmp_jinja_text_is(name, "first")) {
        *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = index == 0};
    } else if (vlmp_jinja_text_is(name, "last")) {
        *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = index + 1 == count};
    } else if (vlmp_jinja_text_is(name, "depth") || vlmp_jinja_text_is(name, "depth0")) {
        out->number = name.length == 5; /* loops are not recursive */
    } else if (vlmp_jinja_text_is(name, "previtem")) {
        *out = index > 0 ? loop->list->items[index - 1] : vlmp_jinja_undefined(name);
    } else if (vlmp_jinja_text_is(name, "nextitem")) {
        *out = index + 1 < count ? loop->list->items[index + 1] : vlmp_jinja_undefined(name);
    } else {
        return vlmp_jinja_fail(c, node, "loop.%.*s is not supported",
                               (int)(name.length < 60 ? name.length : 60), name.text);
    }
    return VLMP_OK;
}

/* What a dictionary or a namespace holds under this key. */
static int key_value(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                     vlmp_jinja_text name, vlmp_jinja_value *out)
{
    *out = vlmp_jinja_undefined(name);
    if (a->kind == VALUE_DICT || a->kind == VALUE_NAMESPACE) {
        const vlmp_jinja_value *found = vlmp_jinja_dict_find(a->dict, name);
        if (found != NULL) {
            *out = *found;
            return VLMP_OK;
        }
    }
    return check_method(c, node, a, name);
}

int vlmp_jinja_attribute(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *a, vlmp_jinja_text name, vlmp_jinja_value *out)
{
    *out = vlmp_jinja_undefined(name);
    if (a->kind == VALUE_UNDEFINED) return undefined_used(c, node, a);
    if (a->kind == VALUE_LOOP) return loop_attribute(c, node, a->loop, name, out);
    if (name.length > 1 && name.text[0] == '_' && name.text[1] == '_')
        return vlmp_jinja_fail(c, node, "the attribute '%.*s' is not supported",
                               (int)(name.length < 60 ? name.length : 60), name.text);
    if (a->kind == VALUE_LIST && a->list->group &&
        (vlmp_jinja_text_is(name, "grouper") || vlmp_jinja_text_is(name, "list"))) {
        *out = a->list->items[name.text[0] == 'l'];
        return VLMP_OK;
    }
    if (a->kind == VALUE_MACRO) return vlmp_jinja_fail(c, node, "attributes of a macro");
    VLMP_TRY(check_method(c, node, a, name));
    return key_value(c, node, a, name, out);
}

/* Python's index: from the end when negative; false when outside. */
static bool resolve_index(int64_t index, size_t count, size_t *out)
{
    if (index < 0) index += (int64_t)count;
    if (index < 0 || (uint64_t)index >= count) return false;
    *out = (size_t)index;
    return true;
}

int vlmp_jinja_item(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                    const vlmp_jinja_value *b, vlmp_jinja_value *out)
{
    if (a->kind == VALUE_UNDEFINED) return undefined_used(c, node, a);
    if (b->kind == VALUE_UNDEFINED && a->kind != VALUE_LOOP) {
        *out = vlmp_jinja_undefined(b->text);
        return VLMP_OK;
    }
    if (b->kind == VALUE_STRING && a->kind == VALUE_DICT)
        return key_value(c, node, a, b->text, out);
    if (b->kind == VALUE_STRING) return vlmp_jinja_attribute(c, node, a, b->text, out);
    *out = vlmp_jinja_undefined((vlmp_jinja_text){"an item", 7});
    if ((b->kind != VALUE_INTEGER && b->kind != VALUE_BOOL) || !vlmp_jinja_is_indexed(a))
        return VLMP_OK;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_to_list(c, node, a, &list));
    size_t index;
    if (resolve_index(vlmp_jinja_integer_of(b), list->count, &index)) *out = list->items[index];
    return VLMP_OK;
}

/* Python's slice bounds; part NONE means left out. */
static int bound(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *part,
                 int64_t missing, int64_t low, int64_t high, int64_t count, int64_t *out)
{
    *out = missing;
    if (part->kind == VALUE_NONE) return VLMP_OK;
    if (part->kind != VALUE_INTEGER)
        return vlmp_jinja_fail(c, node, "a slice's bound is a %s", vlmp_jinja_kind_name(part));
    *out = part->number;
    if (*out < 0) *out = *out < -count ? low : *out + count;
    if (*out < low) *out = low;
    if (*out > high) *out = high;
    return VLMP_OK;
}

static int join(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_list *list,
                vlmp_jinja_value *out)
{
    size_t length = 0;
    for (size_t i = 0; i < list->count; i++)
        length += list->items[i].text.length;
    char *text = vlmp_jinja_allocate(c, node, length + 1, 1);
    if (text == NULL) return c->err->code;
    *out = vlmp_jinja_string(text, length);
    for (size_t i = 0; i < list->count; i++) {
        memcpy(text, list->items[i].text.text, list->items[i].text.length);
        text += list->items[i].text.length;
    }
    return VLMP_OK;
}

int vlmp_jinja_slice(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                     const vlmp_jinja_value bounds[3], vlmp_jinja_value *out)
{
    if (a->kind == VALUE_UNDEFINED) return undefined_used(c, node, a);
    if (!vlmp_jinja_is_indexed(a))
        return vlmp_jinja_fail(c, node, "a slice of a %s", vlmp_jinja_kind_name(a));
    vlmp_jinja_list *list, *part;
    VLMP_TRY(vlmp_jinja_to_list(c, node, a, &list));
    int64_t count = (int64_t)list->count, step, start, stop;
    VLMP_TRY(bound(c, node, &bounds[2], 1, INT64_MIN, INT64_MAX, 0, &step));
    if (bounds[2].kind == VALUE_INTEGER) step = bounds[2].number;
    if (step == 0 || step > count + 1 || step < -count - 1) {
        if (step == 0) return vlmp_jinja_fail(c, node, "a slice's step is 0");
        step = step > 0 ? count + 1 : -count - 1;
    }
    bool forward = step > 0;
    int64_t low = forward ? 0 : -1, high = forward ? count : count - 1;
    VLMP_TRY(bound(c, node, &bounds[0], forward ? 0 : count - 1, low, high, count, &start));
    VLMP_TRY(bound(c, node, &bounds[1], forward ? count : -1, low, high, count, &stop));
    size_t taken = 0;
    for (int64_t i = start; forward ? i < stop : i > stop; i += step)
        taken++;
    VLMP_TRY(vlmp_jinja_list_new(c, node, taken, &part));
    for (size_t i = 0; i < taken; i++)
        part->items[i] = list->items[start + (int64_t)i * step];
    if (a->kind == VALUE_STRING) return join(c, node, part, out);
    part->form = list->form;
    *out = (vlmp_jinja_value){.kind = VALUE_LIST, .list = part};
    return VLMP_OK;
}
