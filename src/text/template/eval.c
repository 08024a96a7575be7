/* Walks the syntax tree. */
#include <stdio.h>
#include <string.h>

#include "src/text/template/jinja.h"

#define MAX_STEPS  1000000
#define MAX_DEPTH  400
#define MAX_BYTES  ((size_t)64 << 20) /* of intermediate values */
#define MAX_OUTPUT ((size_t)16 << 20)

int vlmp_jinja_fail(vlmp_jinja_context *c, const vlmp_jinja_node *node, const char *fmt, ...)
{
    char what[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return vlmp_fail(c->err, VLMP_ERR_INPUT, "%s: line %d: chat template: %s", c->where, node->line,
                     what);
}

void *vlmp_jinja_allocate(vlmp_jinja_context *c, const vlmp_jinja_node *node, size_t count,
                          size_t size)
{
    size_t bytes;
    if (!vlmp_mul_size(count, size, &bytes) || bytes > MAX_BYTES || c->bytes + bytes > MAX_BYTES) {
        vlmp_jinja_fail(c, node, "more than %zu bytes of values", MAX_BYTES);
        return NULL;
    }
    c->bytes += bytes + 16;
    void *memory = vlmp_arena_alloc(&c->arena, count, size);
    if (memory == NULL) vlmp_fail_memory(c->err, "rendering a chat template");
    return memory;
}

static int step(vlmp_jinja_context *c, const vlmp_jinja_node *node)
{
    if (++c->steps > MAX_STEPS) return vlmp_jinja_fail(c, node, "more than %d steps", MAX_STEPS);
    if (c->depth > MAX_DEPTH) return vlmp_jinja_fail(c, node, "expressions nested too deeply");
    return VLMP_OK;
}

static void look_up(const vlmp_jinja_context *c, vlmp_jinja_text name, vlmp_jinja_value *out)
{
    for (const vlmp_jinja_frame *frame = c->frame; frame != NULL; frame = frame->outer) {
        const vlmp_jinja_value *found = vlmp_jinja_dict_find(&frame->names, name);
        if (found == NULL) continue;
        *out = *found;
        return;
    }
    *out = vlmp_jinja_undefined(name);
    if (vlmp_jinja_is_function(name)) out->kind = VALUE_FUNCTION;
}

static int evaluate_list(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out)
{
    size_t count = 0;
    for (const vlmp_jinja_node *item = node->first; item != NULL; item = item->next)
        count++;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_list_new(c, node, count, &list));
    size_t i = 0;
    for (const vlmp_jinja_node *item = node->first; item != NULL; item = item->next)
        VLMP_TRY(vlmp_jinja_evaluate(c, item, &list->items[i++]));
    list->form = node->op == 1 ? FORM_TUPLE : FORM_LIST;
    *out = (vlmp_jinja_value){.kind = VALUE_LIST, .list = list};
    return VLMP_OK;
}

static int evaluate_dict(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out)
{
    vlmp_jinja_dict *dict = vlmp_jinja_allocate(c, node, 1, sizeof *dict);
    if (dict == NULL) return c->err->code;
    for (const vlmp_jinja_node *item = node->first; item != NULL; item = item->next->next) {
        vlmp_jinja_value key, value;
        VLMP_TRY(vlmp_jinja_evaluate(c, item, &key));
        VLMP_TRY(vlmp_jinja_evaluate(c, item->next, &value));
        if (key.kind != VALUE_STRING)
            return vlmp_jinja_fail(c, node, "a dictionary's key is a %s",
                                   vlmp_jinja_kind_name(&key));
        VLMP_TRY(vlmp_jinja_dict_put(c, node, dict, key.text, value));
    }
    *out = (vlmp_jinja_value){.kind = VALUE_DICT, .dict = dict};
    return VLMP_OK;
}

static int evaluate_arguments(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                              vlmp_jinja_arguments *out)
{
    *out = (vlmp_jinja_arguments){.count = 0};
    for (const vlmp_jinja_node *item = node->first; item != NULL; item = item->next) {
        bool keyword = item->kind == NODE_KEYWORD;
        if ((keyword ? out->named_count : out->count) == VLMP_JINJA_MAX_ARGUMENTS)
            return vlmp_jinja_fail(c, node, "a call with too many arguments");
        if (keyword) {
            out->names[out->named_count] = item->name;
            VLMP_TRY(vlmp_jinja_evaluate(c, item->a, &out->named[out->named_count++]));
        } else {
            VLMP_TRY(vlmp_jinja_evaluate(c, item, &out->positional[out->count++]));
        }
    }
    return VLMP_OK;
}

const vlmp_jinja_value *vlmp_jinja_argument(const vlmp_jinja_arguments *arguments, int index,
                                            const char *name)
{
    if (index < arguments->count) return &arguments->positional[index];
    for (int i = 0; i < arguments->named_count; i++)
        if (vlmp_jinja_text_is(arguments->names[i], name)) return &arguments->named[i];
    return NULL;
}

/* A method, or a macro that a namespace or a dictionary holds. */
static int call_attribute(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out)
{
    vlmp_jinja_text name = node->a->name;
    vlmp_jinja_value receiver;
    bool found;
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a->a, &receiver));
    if (receiver.kind == VALUE_NAMESPACE || receiver.kind == VALUE_DICT) {
        const vlmp_jinja_value *held = vlmp_jinja_dict_find(receiver.dict, name);
        if (held != NULL && held->kind == VALUE_MACRO)
            return vlmp_jinja_call_macro(c, node, held->macro, arguments, out);
    }
    VLMP_TRY(vlmp_jinja_method(c, node, &receiver, name, arguments, &found, out));
    if (found) return VLMP_OK;
    return vlmp_jinja_fail(c, node, "a %s has no method '%.*s', or it is not supported",
                           vlmp_jinja_kind_name(&receiver),
                           (int)(name.length < 60 ? name.length : 60), name.text);
}

/* caller: what a call block adds, or NULL. */
static int evaluate_call(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *caller, vlmp_jinja_value *out)
{
    vlmp_jinja_arguments arguments;
    vlmp_jinja_value function;
    VLMP_TRY(evaluate_arguments(c, node, &arguments));
    if (caller != NULL) {
        if (arguments.named_count == VLMP_JINJA_MAX_ARGUMENTS)
            return vlmp_jinja_fail(c, node, "a call with too many arguments");
        arguments.names[arguments.named_count] = (vlmp_jinja_text){"caller", 6};
        arguments.named[arguments.named_count++] = *caller;
    }
    if (node->a->kind == NODE_ATTRIBUTE) return call_attribute(c, node, &arguments, out);
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a, &function));
    if (function.kind == VALUE_MACRO)
        return vlmp_jinja_call_macro(c, node, function.macro, &arguments, out);
    if (function.kind == VALUE_UNDEFINED)
        return vlmp_jinja_fail(c, node, "the function '%.*s' is undefined or not supported",
                               (int)(function.text.length < 60 ? function.text.length : 60),
                               function.text.text);
    if (function.kind != VALUE_FUNCTION)
        return vlmp_jinja_fail(c, node, "a %s is called", vlmp_jinja_kind_name(&function));
    return vlmp_jinja_call(c, node, function.text, &arguments, out);
}

static int evaluate_comparison(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                               vlmp_jinja_value *out)
{
    vlmp_jinja_value left, right;
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a, &left));
    *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = true};
    for (const vlmp_jinja_node *item = node->first; item != NULL && out->truth; item = item->next) {
        VLMP_TRY(vlmp_jinja_evaluate(c, item->a, &right));
        bool holds;
        VLMP_TRY(vlmp_jinja_compare(c, item, item->op, &left, &right, &holds));
        out->truth = holds;
        left = right;
    }
    return VLMP_OK;
}

static int evaluate_slice(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out)
{
    const vlmp_jinja_node *parts[3] = {node->b, node->c, node->d};
    vlmp_jinja_value value, bounds[3];
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a, &value));
    for (int i = 0; i < 3; i++) {
        bounds[i] = (vlmp_jinja_value){.kind = VALUE_NONE};
        if (parts[i] != NULL) VLMP_TRY(vlmp_jinja_evaluate(c, parts[i], &bounds[i]));
    }
    return vlmp_jinja_slice(c, node, &value, bounds, out);
}

static int evaluate_sign(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out)
{
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a, out));
    if (out->kind == VALUE_BOOL)
        *out = (vlmp_jinja_value){.kind = VALUE_INTEGER, .number = out->truth};
    if (out->kind == VALUE_FLOAT) {
        if (node->kind == NODE_NEGATIVE) out->real = -out->real;
        return VLMP_OK;
    }
    if (out->kind != VALUE_INTEGER || out->number == INT64_MIN)
        return vlmp_jinja_fail(c, node, "a sign before a %s", vlmp_jinja_kind_name(out));
    if (node->kind == NODE_NEGATIVE) out->number = -out->number;
    return VLMP_OK;
}

static int evaluate_filter(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                           vlmp_jinja_value *out)
{
    vlmp_jinja_value value;
    vlmp_jinja_arguments arguments;
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a, &value));
    VLMP_TRY(evaluate_arguments(c, node, &arguments));
    if (node->kind == NODE_FILTER)
        return vlmp_jinja_filter(c, node, node->name, &value, &arguments, out);
    bool holds;
    VLMP_TRY(vlmp_jinja_test(c, node, node->name, &value, &arguments, &holds));
    *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = holds};
    return VLMP_OK;
}

static int evaluate_two(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out)
{
    vlmp_jinja_value a, b;
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a, &a));
    if (node->kind == NODE_ATTRIBUTE) return vlmp_jinja_attribute(c, node, &a, node->name, out);
    if (node->kind == NODE_CONDITION) return VLMP_OK;
    VLMP_TRY(vlmp_jinja_evaluate(c, node->b, &b));
    if (node->kind == NODE_ITEM) return vlmp_jinja_item(c, node, &a, &b, out);
    return vlmp_jinja_binary(c, node, node->op, &a, &b, out);
}

/* and, or, not, x if y else z: only what decides is evaluated. */
static int evaluate_choice(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                           vlmp_jinja_value *out)
{
    if (node->kind == NODE_CONDITION) {
        VLMP_TRY(vlmp_jinja_evaluate(c, node->b, out));
        if (vlmp_jinja_is_true(out)) return vlmp_jinja_evaluate(c, node->a, out);
        *out = vlmp_jinja_undefined((vlmp_jinja_text){"the missing else", 16});
        return node->c == NULL ? VLMP_OK : vlmp_jinja_evaluate(c, node->c, out);
    }
    VLMP_TRY(vlmp_jinja_evaluate(c, node->a, out));
    if (node->kind == NODE_NOT) {
        *out = (vlmp_jinja_value){.kind = VALUE_BOOL, .truth = !vlmp_jinja_is_true(out)};
        return VLMP_OK;
    }
    if (vlmp_jinja_is_true(out) == (node->kind == NODE_OR)) return VLMP_OK;
    return vlmp_jinja_evaluate(c, node->b, out);
}

int vlmp_jinja_evaluate(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out)
{
    VLMP_TRY(step(c, node));
    c->depth++;
    int status;
    switch (node->kind) {
    case NODE_CONSTANT:
        *out = node->value;
        status = VLMP_OK;
        break;
    case NODE_NAME:
        look_up(c, node->name, out);
        status = VLMP_OK;
        break;
    case NODE_LIST:
        status = evaluate_list(c, node, out);
        break;
    case NODE_DICT:
        status = evaluate_dict(c, node, out);
        break;
    case NODE_CALL:
        status = evaluate_call(c, node, NULL, out);
        break;
    case NODE_CAPTURE:
        status = vlmp_jinja_capture(c, node, c->frame, out);
        break;
    case NODE_COMPARE:
        status = evaluate_comparison(c, node, out);
        break;
    case NODE_SLICE:
        status = evaluate_slice(c, node, out);
        break;
    case NODE_NEGATIVE:
    case NODE_POSITIVE:
        status = evaluate_sign(c, node, out);
        break;
    case NODE_FILTER:
    case NODE_TEST:
        status = evaluate_filter(c, node, out);
        break;
    case NODE_AND:
    case NODE_OR:
    case NODE_NOT:
    case NODE_CONDITION:
        status = evaluate_choice(c, node, out);
        break;
    default:
        status = evaluate_two(c, node, out);
        break; /* ATTRIBUTE, ITEM, BINARY */
    }
    c->depth--;
    return status;
}

static int assign(vlmp_jinja_context *c, const vlmp_jinja_node *target,
                  const vlmp_jinja_value *value)
{
    if (target->kind == NODE_NAME)
        return vlmp_jinja_dict_put(c, target, &c->frame->names, target->name, *value);
    if (target->kind == NODE_ATTRIBUTE) {
        vlmp_jinja_value object;
        VLMP_TRY(vlmp_jinja_evaluate(c, target->a, &object));
        if (object.kind != VALUE_NAMESPACE)
            return vlmp_jinja_fail(c, target,
                                   "an attribute of a %s is set; only a namespace has that",
                                   vlmp_jinja_kind_name(&object));
        return vlmp_jinja_namespace_put(c, target, object.dict, target->name, *value);
    }
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_to_list(c, target, value, &list));
    size_t i = 0;
    for (const vlmp_jinja_node *item = target->first; item != NULL; item = item->next, i++) {
        if (i >= list->count) break;
        VLMP_TRY(assign(c, item, &list->items[i]));
    }
    size_t names = 0;
    for (const vlmp_jinja_node *item = target->first; item != NULL; item = item->next)
        names++;
    if (names != list->count)
        return vlmp_jinja_fail(c, target, "%zu values for %zu names", list->count, names);
    return VLMP_OK;
}

/* Frames live in the arena: a macro keeps the one where it was defined. */
static vlmp_jinja_frame *new_frame(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                                   vlmp_jinja_frame *outer)
{
    vlmp_jinja_frame *frame = vlmp_jinja_allocate(c, node, 1, sizeof *frame);
    if (frame != NULL) frame->outer = outer;
    return frame;
}

/* Runs statements with names of their own. */
static int execute_inside(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_node *first)
{
    vlmp_jinja_frame *outer = c->frame, *frame = new_frame(c, node, outer);
    if (frame == NULL) return c->err->code;
    c->frame = frame;
    int status = vlmp_jinja_execute(c, first);
    c->frame = outer;
    return status;
}

/* Keeps the items for which the condition holds, each under the target's name. */
static int filter_items(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_list **list)
{
    vlmp_jinja_list *kept;
    VLMP_TRY(vlmp_jinja_list_new(c, node, (*list)->count, &kept));
    kept->count = 0;
    for (size_t i = 0; i < (*list)->count; i++) {
        vlmp_jinja_frame *outer = c->frame, *frame = new_frame(c, node, outer);
        vlmp_jinja_value holds;
        if (frame == NULL) return c->err->code;
        c->frame = frame;
        int status = assign(c, node->a, &(*list)->items[i]);
        if (status == VLMP_OK) status = vlmp_jinja_evaluate(c, node->c, &holds);
        c->frame = outer;
        VLMP_TRY(status);
        if (vlmp_jinja_is_true(&holds)) kept->items[kept->count++] = (*list)->items[i];
    }
    *list = kept;
    return VLMP_OK;
}

static int execute_for(vlmp_jinja_context *c, const vlmp_jinja_node *node)
{
    static const vlmp_jinja_text loop_name = {"loop", 4};
    vlmp_jinja_value iterable;
    vlmp_jinja_list *list;
    VLMP_TRY(vlmp_jinja_evaluate(c, node->b, &iterable));
    VLMP_TRY(vlmp_jinja_to_list(c, node, &iterable, &list));
    if (node->c != NULL) VLMP_TRY(filter_items(c, node, &list));
    if (list->count == 0)
        return node->d == NULL ? VLMP_OK : execute_inside(c, node, node->d->first);
    /* In the arena: a namespace may keep the loop. */
    vlmp_jinja_loop *loop = vlmp_jinja_allocate(c, node, 1, sizeof *loop);
    if (loop == NULL) return c->err->code;
    loop->list = list;
    for (loop->index = 0; loop->index < list->count; loop->index++) {
        vlmp_jinja_frame *outer = c->frame, *frame = new_frame(c, node, outer);
        if (frame == NULL) return c->err->code;
        VLMP_TRY(step(c, node));
        c->frame = frame;
        int status = vlmp_jinja_dict_put(c, node, &frame->names, loop_name,
                                         (vlmp_jinja_value){.kind = VALUE_LOOP, .loop = loop});
        if (status == VLMP_OK) status = assign(c, node->a, &list->items[loop->index]);
        if (status == VLMP_OK) status = vlmp_jinja_execute(c, node->first);
        c->frame = outer;
        VLMP_TRY(status);
        bool leave = c->flow == FLOW_BREAK;
        c->flow = FLOW_ON;
        if (leave) break;
    }
    return VLMP_OK;
}

static int execute_if(vlmp_jinja_context *c, const vlmp_jinja_node *node)
{
    for (const vlmp_jinja_node *branch = node->first; branch != NULL; branch = branch->next) {
        vlmp_jinja_value condition = {.kind = VALUE_BOOL, .truth = true};
        if (branch->a != NULL) VLMP_TRY(vlmp_jinja_evaluate(c, branch->a, &condition));
        if (vlmp_jinja_is_true(&condition)) return vlmp_jinja_execute(c, branch->first);
    }
    return VLMP_OK;
}

int vlmp_jinja_capture(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_frame *outer,
                       vlmp_jinja_value *out)
{
    vlmp_buffer captured = {0}, *before = c->out;
    vlmp_jinja_frame *frame = c->frame;
    c->out = &captured;
    c->frame = outer;
    int status = execute_inside(c, node, node->first);
    c->out = before;
    c->frame = frame;
    return vlmp_jinja_from_buffer(c, node, &captured, status, out);
}

static int execute_with(vlmp_jinja_context *c, const vlmp_jinja_node *node)
{
    vlmp_jinja_frame *outer = c->frame, *frame = new_frame(c, node, outer);
    if (frame == NULL) return c->err->code;
    for (const vlmp_jinja_node *set = node->a; set != NULL; set = set->next) {
        vlmp_jinja_value value;
        VLMP_TRY(vlmp_jinja_evaluate(c, set->b, &value));
        VLMP_TRY(vlmp_jinja_dict_put(c, node, &frame->names, set->a->name, value));
    }
    c->frame = frame;
    int status = vlmp_jinja_execute(c, node->first);
    c->frame = outer;
    return status;
}

static int new_macro(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out)
{
    vlmp_jinja_macro *macro = vlmp_jinja_allocate(c, node, 1, sizeof *macro);
    if (macro == NULL) return c->err->code;
    *macro = (vlmp_jinja_macro){node, c->frame};
    *out = (vlmp_jinja_value){.kind = VALUE_MACRO, .macro = macro};
    return VLMP_OK;
}

static int print(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text)
{
    if (c->out->length + text.length > MAX_OUTPUT)
        return vlmp_jinja_fail(c, node, "the rendered text exceeds %zu bytes", MAX_OUTPUT);
    vlmp_buffer_append(c->out, text.text, text.length);
    return c->out->failed ? vlmp_fail_memory(c->err, "rendering a chat template") : VLMP_OK;
}

static int print_value(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value)
{
    vlmp_jinja_text text;
    VLMP_TRY(vlmp_jinja_to_text(c, node, value, &text));
    return print(c, node, text);
}

/* {{ … }} and filter blocks: "safe", which marks a text as not to be escaped, changes nothing where
 * it comes last. */
static int execute_print(vlmp_jinja_context *c, const vlmp_jinja_node *node)
{
    const vlmp_jinja_node *value_node = node->a;
    vlmp_jinja_value value;
    if (value_node->kind == NODE_FILTER && vlmp_jinja_text_is(value_node->name, "safe") &&
        value_node->first == NULL)
        value_node = value_node->a;
    VLMP_TRY(vlmp_jinja_evaluate(c, value_node, &value));
    if (node->kind == NODE_FILTER_BLOCK && value.kind != VALUE_STRING)
        return vlmp_jinja_fail(c, node, "the filters of a filter block give a %s instead of text",
                               vlmp_jinja_kind_name(&value));
    return print_value(c, node, &value);
}

static int execute_one(vlmp_jinja_context *c, const vlmp_jinja_node *node)
{
    vlmp_jinja_value value;
    switch (node->kind) {
    case NODE_DATA:
        return print(c, node, node->name);
    case NODE_PRINT:
    case NODE_FILTER_BLOCK:
        return execute_print(c, node);
    case NODE_IF:
        return execute_if(c, node);
    case NODE_FOR:
        return execute_for(c, node);
    case NODE_SET:
        VLMP_TRY(vlmp_jinja_evaluate(c, node->b, &value));
        return assign(c, node->a, &value);
    case NODE_SCOPE:
        return execute_inside(c, node, node->first);
    case NODE_WITH:
        return execute_with(c, node);
    case NODE_MACRO:
        VLMP_TRY(new_macro(c, node, &value));
        return vlmp_jinja_dict_put(c, node, &c->frame->names, node->name, value);
    case NODE_CALL_BLOCK:
        VLMP_TRY(new_macro(c, node->b, &value));
        VLMP_TRY(evaluate_call(c, node->a, &value, &value));
        return print_value(c, node, &value);
    case NODE_BREAK:
        c->flow = FLOW_BREAK;
        return VLMP_OK;
    case NODE_CONTINUE:
        c->flow = FLOW_CONTINUE;
        return VLMP_OK;
    default:
        return vlmp_jinja_fail(c, node, "a statement is expected");
    }
}

int vlmp_jinja_execute(vlmp_jinja_context *c, const vlmp_jinja_node *first)
{
    for (const vlmp_jinja_node *node = first; node != NULL && c->flow == FLOW_ON;
         node = node->next) {
        VLMP_TRY(step(c, node));
        c->depth++;
        VLMP_TRY(execute_one(c, node));
        c->depth--;
    }
    return VLMP_OK;
}
