/* Methods of strings, lists and dictionaries. */
#include <string.h>

#include "src/text/template/jinja.h"
#include "src/text/unicode/unicode.h"

static bool is_listed(const char *const *names, vlmp_jinja_text name)
{
    for (; *names != NULL; names++)
        if (vlmp_jinja_text_is(name, *names)) return true;
    return false;
}

bool vlmp_jinja_has_method(const vlmp_jinja_value *receiver, vlmp_jinja_text name)
{
    static const char *const of_strings[] = {
        "capitalize", "casefold",     "center",       "count",     "encode",      "endswith",
        "expandtabs", "find",         "format",       "index",     "isalnum",     "isalpha",
        "isascii",    "isdecimal",    "isdigit",      "islower",   "isnumeric",   "isspace",
        "istitle",    "isupper",      "join",         "ljust",     "lower",       "lstrip",
        "partition",  "removeprefix", "removesuffix", "replace",   "rfind",       "rindex",
        "rjust",      "rpartition",   "rsplit",       "rstrip",    "split",       "splitlines",
        "startswith", "strip",        "swapcase",     "title",     "translate",   "upper",
        "zfill",      "format_map",   "isidentifier", "maketrans", "isprintable", NULL};
    static const char *const of_lists[] = {"append", "clear",   "copy",   "count",
                                           "extend", "index",   "insert", "pop",
                                           "remove", "reverse", "sort",   NULL};
    static const char *const of_dicts[] = {"clear",      "copy",   "fromkeys", "get",
                                           "items",      "keys",   "pop",      "popitem",
                                           "setdefault", "update", "values",   NULL};
    switch (receiver->kind) {
    case VALUE_STRING:
        return is_listed(of_strings, name);
    case VALUE_LIST:
        return is_listed(of_lists, name);
    case VALUE_DICT:
        return is_listed(of_dicts, name);
    default:
        return false;
    }
}

static int dict_method(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *receiver, vlmp_jinja_text name,
                       const vlmp_jinja_arguments *arguments, bool *found, vlmp_jinja_value *out)
{
    const vlmp_jinja_dict *dict = receiver->dict;
    if (vlmp_jinja_text_is(name, "get")) {
        const vlmp_jinja_value *key = &arguments->positional[0];
        if (arguments->count < 1 || arguments->count > 2 || key->kind != VALUE_STRING)
            return vlmp_jinja_fail(c, node, "such arguments of get are not supported");
        const vlmp_jinja_value *value = vlmp_jinja_dict_find(dict, key->text);
        *out = value != NULL           ? *value
               : arguments->count == 2 ? arguments->positional[1]
                                       : (vlmp_jinja_value){.kind = VALUE_NONE};
        return VLMP_OK;
    }
    bool keys = vlmp_jinja_text_is(name, "keys"), values = vlmp_jinja_text_is(name, "values");
    *found = keys || values || vlmp_jinja_text_is(name, "items");
    if (!*found) return VLMP_OK;
    if (arguments->count > 0) return vlmp_jinja_fail(c, node, "items, keys or values of something");
    VLMP_TRY(vlmp_jinja_new_list(c, node, dict->count, FORM_VIEW, out));
    for (size_t i = 0; i < dict->count; i++) {
        vlmp_jinja_value key = vlmp_jinja_string(dict->keys[i].text, dict->keys[i].length);
        out->list->items[i] = keys ? key : dict->values[i];
        if (keys || values) continue;
        vlmp_jinja_value *pair = &out->list->items[i];
        VLMP_TRY(vlmp_jinja_new_list(c, node, 2, FORM_TUPLE, pair));
        pair->list->items[0] = key;
        pair->list->items[1] = dict->values[i];
    }
    return VLMP_OK;
}

static int list_method(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *receiver, vlmp_jinja_text name,
                       const vlmp_jinja_arguments *arguments, bool *found, vlmp_jinja_value *out)
{
    const vlmp_jinja_list *list = receiver->list;
    bool index = vlmp_jinja_text_is(name, "index"), same = false;
    int64_t count = 0;
    *found = vlmp_jinja_is_indexed(receiver) && (index || vlmp_jinja_text_is(name, "count"));
    if (!*found) return VLMP_OK;
    if (arguments->count != 1)
        return vlmp_jinja_fail(c, node, "such arguments of index or count are not supported");
    for (size_t i = 0; i < list->count; i++) {
        VLMP_TRY(vlmp_jinja_equal(c, node, &list->items[i], &arguments->positional[0], &same));
        if (same && index) {
            *out = vlmp_jinja_integer((int64_t)i);
            return VLMP_OK;
        }
        count += same;
    }
    if (index) return vlmp_jinja_fail(c, node, "index of what is not in the list");
    *out = vlmp_jinja_integer(count);
    return VLMP_OK;
}

/* A prefix or suffix, or a tuple of them. */
static int begins_or_ends(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                          const vlmp_jinja_arguments *arguments, bool begin, vlmp_jinja_value *out)
{
    if (arguments->count != 1)
        return vlmp_jinja_fail(c, node,
                               "such arguments of startswith or endswith are not supported");
    const vlmp_jinja_value *given = &arguments->positional[0];
    const vlmp_jinja_value *one = given;
    size_t count = 1;
    if (given->kind == VALUE_LIST && given->list->form == FORM_TUPLE) {
        one = given->list->items;
        count = given->list->count;
    }
    *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = false};
    for (size_t i = 0; i < count; i++, one++) {
        if (one->kind != VALUE_STRING)
            return vlmp_jinja_fail(c, node, "startswith or endswith of a %s",
                                   vlmp_jinja_kind_name(one));
        if (one->text.length > text.length) continue;
        size_t from = begin ? 0 : text.length - one->text.length;
        vlmp_jinja_text part = {text.text + from, one->text.length};
        if (vlmp_jinja_same_text(part, one->text)) out->truth = true;
    }
    return VLMP_OK;
}

static int strip(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                 const vlmp_jinja_arguments *arguments, bool left, bool right,
                 vlmp_jinja_value *out)
{
    const vlmp_jinja_value *given = &arguments->positional[0];
    bool any = arguments->count == 0 || given->kind == VALUE_NONE;
    if (arguments->count > 1 || (!any && given->kind != VALUE_STRING))
        return vlmp_jinja_fail(c, node, "such arguments of strip are not supported");
    text = vlmp_jinja_strip(text, any ? NULL : &given->text, left, right);
    *out = vlmp_jinja_string(text.text, text.length);
    return VLMP_OK;
}

/* The first or last byte of part in text, or -1. */
static int64_t find_text(vlmp_jinja_text text, vlmp_jinja_text part, bool last)
{
    for (size_t i = 0; part.length <= text.length && i <= text.length - part.length; i++) {
        size_t at = last ? text.length - part.length - i : i;
        if (part.length == 0 || memcmp(text.text + at, part.text, part.length) == 0)
            return (int64_t)at;
    }
    return -1;
}

/* find, rfind, index, rindex, count, removeprefix, removesuffix: one text is looked for. */
static int search(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                  vlmp_jinja_text name, const vlmp_jinja_arguments *arguments, bool *found,
                  vlmp_jinja_value *out)
{
    bool last = name.text[0] == 'r' && name.text[1] != 'e';
    vlmp_jinja_text verb = {name.text + last, name.length - last}, part;
    bool find = vlmp_jinja_text_is(verb, "find"), index = vlmp_jinja_text_is(verb, "index");
    bool prefix = vlmp_jinja_text_is(name, "removeprefix"),
         suffix = vlmp_jinja_text_is(name, "removesuffix");
    bool count = vlmp_jinja_text_is(name, "count");
    *found = find || index || prefix || suffix || count;
    if (!*found) return VLMP_OK;
    if (arguments->count != 1 || arguments->positional[0].kind != VALUE_STRING)
        return vlmp_jinja_fail(c, node, "such arguments of %.*s are not supported",
                               (int)name.length, name.text);
    part = arguments->positional[0].text;
    if (count) {
        int64_t hits = part.length == 0 ? (int64_t)vlmp_jinja_characters(text) + 1 : 0, at;
        while (part.length > 0 && (at = find_text(text, part, false)) >= 0) {
            text.text += (size_t)at + part.length;
            text.length -= (size_t)at + part.length;
            hits++;
        }
        *out = vlmp_jinja_integer(hits);
        return VLMP_OK;
    }
    int64_t at = find_text(text, part, last || suffix);
    if (prefix || suffix) {
        bool cut = suffix ? at >= 0 && (size_t)at + part.length == text.length : at == 0;
        size_t length = cut ? text.length - part.length : text.length;
        *out = vlmp_jinja_string(text.text + (cut && prefix ? part.length : 0), length);
        return VLMP_OK;
    }
    if (at < 0 && index) return vlmp_jinja_fail(c, node, "index of what is not in the text");
    *out = vlmp_jinja_integer(
        at < 0 ? -1 : (int64_t)vlmp_jinja_characters((vlmp_jinja_text){text.text, (size_t)at}));
    return VLMP_OK;
}

/* ljust, rjust, center, zfill */
static int fill(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                vlmp_jinja_text name, const vlmp_jinja_arguments *arguments, bool *found,
                vlmp_jinja_value *out)
{
    bool left = vlmp_jinja_text_is(name, "ljust"), right = vlmp_jinja_text_is(name, "rjust");
    bool zeros = vlmp_jinja_text_is(name, "zfill");
    *found = left || right || zeros || vlmp_jinja_text_is(name, "center");
    if (!*found) return VLMP_OK;
    vlmp_jinja_text with = {zeros ? "0" : " ", 1};
    if (arguments->count < 1 || arguments->count > 2 - zeros ||
        arguments->positional[0].kind != VALUE_INTEGER ||
        (arguments->count == 2 && arguments->positional[1].kind != VALUE_STRING))
        return vlmp_jinja_fail(c, node, "such arguments of %.*s are not supported",
                               (int)name.length, name.text);
    if (arguments->count == 2) with = arguments->positional[1].text;
    int64_t width = arguments->positional[0].number, have = (int64_t)vlmp_jinja_characters(text);
    size_t missing = width > have ? (size_t)(width - have) : 0;
    size_t before = left ? 0 : missing;
    if (!left && !right && !zeros) before = missing / 2 + (missing & (size_t)width & 1);
    if (vlmp_jinja_characters(with) != 1)
        return vlmp_jinja_fail(c, node, "filling with more than a character");
    bool sign = zeros && text.length > 0 && (text.text[0] == '-' || text.text[0] == '+');
    vlmp_jinja_text rest = {text.text + sign, text.length - sign};
    VLMP_TRY(vlmp_jinja_pad(c, node, rest, before, missing - before, with, out));
    return sign ? vlmp_jinja_concatenate(c, node, (vlmp_jinja_text){text.text, 1}, out->text, out)
                : VLMP_OK;
}

static bool is_alpha(uint32_t c)
{
    return vlmp_is_letter(c);
}

static bool is_ascii_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_ascii(uint32_t c)
{
    return c < 0x80;
}

/* isalpha, isdigit, isspace, isascii: of every character. */
static int ask_characters(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                          vlmp_jinja_text name, bool *found, vlmp_jinja_value *out)
{
    static const struct {
        const char *name;
        bool (*holds)(uint32_t c);
        bool ascii_only; /* beyond ASCII this code does not know what Python says */
    } questions[] = {{"isalpha", is_alpha, false},
                     {"isdigit", is_ascii_digit, true},
                     {"isdecimal", is_ascii_digit, true},
                     {"isnumeric", is_ascii_digit, true},
                     {"isspace", vlmp_jinja_is_space, false},
                     {"isascii", is_ascii, false}};
    *found = false;
    for (size_t i = 0; i < sizeof questions / sizeof *questions && !*found; i++) {
        if (!vlmp_jinja_text_is(name, questions[i].name)) continue;
        *found = true;
        bool holds = text.length > 0 || questions[i].holds == is_ascii;
        for (size_t at = 0; at < text.length;) {
            uint32_t character = vlmp_utf8_next(text.text, text.length, &at);
            if (character >= 0x80 && questions[i].ascii_only && !vlmp_is_letter(character))
                return vlmp_jinja_fail(c, node, "%s beyond ASCII is not supported",
                                       questions[i].name);
            holds = holds && questions[i].holds(character);
        }
        *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = holds};
    }
    return VLMP_OK;
}

static int join(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out)
{
    vlmp_jinja_list *list;
    if (arguments->count != 1) return vlmp_jinja_fail(c, node, "join takes one list");
    VLMP_TRY(vlmp_jinja_to_list(c, node, &arguments->positional[0], &list));
    vlmp_buffer joined = {0};
    int status = VLMP_OK;
    for (size_t i = 0; i < list->count && status == VLMP_OK; i++) {
        const vlmp_jinja_value *item = &list->items[i];
        if (i > 0) vlmp_buffer_append(&joined, text.text, text.length);
        if (item->kind == VALUE_STRING)
            vlmp_buffer_append(&joined, item->text.text, item->text.length);
        else
            status = vlmp_jinja_fail(c, node, "join of a %s", vlmp_jinja_kind_name(item));
    }
    return vlmp_jinja_from_buffer(c, node, &joined, status, out);
}

static int replace(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                   const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out)
{
    const vlmp_jinja_value *given = arguments->positional;
    int64_t most = -1;
    const vlmp_jinja_value *count = vlmp_jinja_argument(arguments, 2, "count");
    if (arguments->count < 2 || arguments->count > 3 || given[0].kind != VALUE_STRING ||
        given[1].kind != VALUE_STRING || (count != NULL && count->kind != VALUE_INTEGER))
        return vlmp_jinja_fail(c, node, "such arguments of replace are not supported");
    if (count != NULL) most = count->number;
    return vlmp_jinja_replace(c, node, text, given[0].text, given[1].text, most, out);
}

/* Methods without arguments. */
static int simple_method(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                         vlmp_jinja_text name, bool *found, vlmp_jinja_value *out)
{
    *found = true;
    if (vlmp_jinja_text_is(name, "upper")) return vlmp_jinja_change_case(c, node, text, 'u', out);
    if (vlmp_jinja_text_is(name, "lower")) return vlmp_jinja_change_case(c, node, text, 'l', out);
    if (vlmp_jinja_text_is(name, "capitalize"))
        return vlmp_jinja_change_case(c, node, text, 'c', out);
    if (vlmp_jinja_text_is(name, "title")) return vlmp_jinja_change_case(c, node, text, 't', out);
    bool upper = vlmp_jinja_text_is(name, "isupper");
    if (upper || vlmp_jinja_text_is(name, "islower")) {
        *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = vlmp_jinja_is_case(text, upper)};
        return VLMP_OK;
    }
    return ask_characters(c, node, text, name, found, out);
}

static int string_method(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *receiver, vlmp_jinja_text name,
                         const vlmp_jinja_arguments *arguments, bool *found, vlmp_jinja_value *out)
{
    vlmp_jinja_text text = receiver->text;
    if (vlmp_jinja_text_is(name, "strip")) return strip(c, node, text, arguments, true, true, out);
    if (vlmp_jinja_text_is(name, "lstrip"))
        return strip(c, node, text, arguments, true, false, out);
    if (vlmp_jinja_text_is(name, "rstrip"))
        return strip(c, node, text, arguments, false, true, out);
    if (vlmp_jinja_text_is(name, "join")) return join(c, node, text, arguments, out);
    if (vlmp_jinja_text_is(name, "replace")) return replace(c, node, text, arguments, out);
    if (vlmp_jinja_text_is(name, "format")) return vlmp_jinja_format(c, node, text, arguments, out);
    bool begin = vlmp_jinja_text_is(name, "startswith");
    if (begin || vlmp_jinja_text_is(name, "endswith"))
        return begins_or_ends(c, node, text, arguments, begin, out);
    VLMP_TRY(vlmp_jinja_split(c, node, text, name, arguments, found, out));
    if (!*found) VLMP_TRY(search(c, node, text, name, arguments, found, out));
    if (!*found) VLMP_TRY(fill(c, node, text, name, arguments, found, out));
    if (*found) return VLMP_OK;
    VLMP_TRY(simple_method(c, node, text, name, found, out));
    if (*found && arguments->count > 0)
        return vlmp_jinja_fail(c, node, "such arguments of %.*s are not supported",
                               (int)name.length, name.text);
    return VLMP_OK;
}

static int loop_method(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *receiver, vlmp_jinja_text name,
                       const vlmp_jinja_arguments *arguments, bool *found, vlmp_jinja_value *out)
{
    vlmp_jinja_loop *loop = receiver->loop;
    if (vlmp_jinja_text_is(name, "cycle")) {
        if (arguments->count == 0) return vlmp_jinja_fail(c, node, "loop.cycle without items");
        *out = arguments->positional[loop->index % (size_t)arguments->count];
        return VLMP_OK;
    }
    *found = vlmp_jinja_text_is(name, "changed");
    if (!*found) return VLMP_OK;
    vlmp_jinja_value now, before = {.kind = VALUE_LIST, .list = loop->changed};
    bool same = false;
    VLMP_TRY(vlmp_jinja_new_list(c, node, (size_t)arguments->count, FORM_TUPLE, &now));
    if (arguments->count > 0)
        memcpy(now.list->items, arguments->positional, (size_t)arguments->count * sizeof now);
    if (loop->changed != NULL) VLMP_TRY(vlmp_jinja_equal(c, node, &now, &before, &same));
    loop->changed = now.list;
    *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = !same};
    return VLMP_OK;
}

/* Methods that know some of their arguments by name. */
static bool takes_names(vlmp_jinja_text name)
{
    static const char *const names[] = {"format", "split", "rsplit", "replace", "splitlines", NULL};
    return is_listed(names, name);
}

int vlmp_jinja_method(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *receiver, vlmp_jinja_text name,
                      const vlmp_jinja_arguments *arguments, bool *found, vlmp_jinja_value *out)
{
    *found = true;
    if (receiver->kind == VALUE_UNDEFINED)
        return vlmp_jinja_fail(c, node, "'%.*s' is undefined",
                               (int)(receiver->text.length < 60 ? receiver->text.length : 60),
                               receiver->text.text);
    if (arguments->named_count > 0 && !(receiver->kind == VALUE_STRING && takes_names(name)))
        return vlmp_jinja_fail(c, node, "a method with named arguments is not supported");
    switch (receiver->kind) {
    case VALUE_DICT:
        return dict_method(c, node, receiver, name, arguments, found, out);
    case VALUE_STRING:
        return string_method(c, node, receiver, name, arguments, found, out);
    case VALUE_LIST:
        return list_method(c, node, receiver, name, arguments, found, out);
    case VALUE_LOOP:
        return loop_method(c, node, receiver, name, arguments, found, out);
    default:
        *found = false;
        return VLMP_OK;
    }
}
