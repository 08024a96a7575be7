/* Calls of macros. */
#include "src/text/template/jinja.h"

static int name_fail(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                     const vlmp_jinja_node *macro, const char *what, vlmp_jinja_text name)
{
    return vlmp_jinja_fail(c, node, "the macro '%.*s' %s '%.*s'",
                           (int)(macro->name.length < 60 ? macro->name.length : 60),
                           macro->name.text, what, (int)(name.length < 60 ? name.length : 60),
                           name.text);
}

static int put(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_frame *frame,
               vlmp_jinja_text name, vlmp_jinja_value value)
{
    return vlmp_jinja_dict_put(c, node, &frame->names, name, value);
}

/* Positional arguments beyond the parameters: varargs, if the body reads it. */
static int put_rest(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                    const vlmp_jinja_node *macro, const vlmp_jinja_arguments *arguments, int used,
                    vlmp_jinja_frame *frame)
{
    int count = arguments->count > used ? arguments->count - used : 0;
    if ((macro->op & MACRO_VARARGS) == 0)
        return count == 0 ? VLMP_OK
                          : name_fail(c, node, macro, "is called with too many arguments for",
                                      macro->name);
    vlmp_jinja_list *rest;
    VLMP_TRY(vlmp_jinja_list_new(c, node, (size_t)count, &rest));
    rest->form = FORM_TUPLE;
    for (int i = 0; i < count; i++)
        rest->items[i] = arguments->positional[used + i];
    return put(c, node, frame, (vlmp_jinja_text){"varargs", 7},
               (vlmp_jinja_value){.kind = VALUE_LIST, .list = rest});
}

/* Named arguments that are no parameters: the caller, and kwargs, if the body reads them. */
static int put_named_rest(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_node *macro, const vlmp_jinja_arguments *arguments,
                          const bool *taken, vlmp_jinja_frame *frame)
{
    static const vlmp_jinja_text caller_name = {"caller", 6};
    vlmp_jinja_value caller = vlmp_jinja_undefined(caller_name);
    vlmp_jinja_dict *kwargs = vlmp_jinja_allocate(c, node, 1, sizeof *kwargs);
    if (kwargs == NULL) return c->err->code;
    for (int i = 0; i < arguments->named_count; i++) {
        if (taken[i]) continue;
        if ((macro->op & MACRO_CALLER) != 0 &&
            vlmp_jinja_same_text(arguments->names[i], caller_name))
            caller = arguments->named[i];
        else if ((macro->op & MACRO_KWARGS) != 0)
            VLMP_TRY(
                vlmp_jinja_dict_put(c, node, kwargs, arguments->names[i], arguments->named[i]));
        else
            return name_fail(c, node, macro, "takes no argument", arguments->names[i]);
    }
    if ((macro->op & MACRO_CALLER) != 0) VLMP_TRY(put(c, node, frame, caller_name, caller));
    if ((macro->op & MACRO_KWARGS) == 0) return VLMP_OK;
    return put(c, node, frame, (vlmp_jinja_text){"kwargs", 6},
               (vlmp_jinja_value){.kind = VALUE_DICT, .dict = kwargs});
}

int vlmp_jinja_call_macro(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_macro *macro, const vlmp_jinja_arguments *arguments,
                          vlmp_jinja_value *out)
{
    const vlmp_jinja_node *definition = macro->node;
    bool taken[VLMP_JINJA_MAX_ARGUMENTS] = {false};
    vlmp_jinja_frame *frame = vlmp_jinja_allocate(c, node, 1, sizeof *frame), *before = c->frame;
    if (frame == NULL) return c->err->code;
    frame->outer = macro->frame;
    int at = 0, status = VLMP_OK;
    for (const vlmp_jinja_node *p = definition->a; p != NULL; p = p->next, at++) {
        vlmp_jinja_value value = vlmp_jinja_undefined(p->name);
        bool given = at < arguments->count;
        if (given) value = arguments->positional[at];
        for (int i = 0; i < arguments->named_count; i++) {
            if (!vlmp_jinja_same_text(arguments->names[i], p->name)) continue;
            if (given) return name_fail(c, node, definition, "is given twice", p->name);
            value = arguments->named[i];
            given = taken[i] = true;
        }
        c->frame = frame; /* a default may use the parameters before it */
        if (!given && p->a != NULL) status = vlmp_jinja_evaluate(c, p->a, &value);
        c->frame = before;
        VLMP_TRY(status);
        VLMP_TRY(put(c, node, frame, p->name, value));
    }
    VLMP_TRY(put_rest(c, node, definition, arguments, at, frame));
    VLMP_TRY(put_named_rest(c, node, definition, arguments, taken, frame));
    return vlmp_jinja_capture(c, definition, frame, out);
}
