/* Statements: the tags of a template and what is between them. */
#include <string.h>

#include "src/text/template/jinja.h"

#define MAX_DEPTH 100

static const vlmp_jinja_token *now(const vlmp_jinja_parser *p)
{
    return &p->tokens[p->at];
}

vlmp_jinja_node *vlmp_jinja_new_node(vlmp_jinja_parser *p, vlmp_jinja_node_kind kind, int line)
{
    vlmp_jinja_node *node = vlmp_arena_alloc(p->arena, 1, sizeof *node);
    if (node == NULL) {
        vlmp_fail_memory(p->err, p->where);
        return NULL;
    }
    node->kind = kind;
    node->line = line;
    return node;
}

int vlmp_jinja_parse_fail(vlmp_jinja_parser *p, const char *what, vlmp_jinja_text detail)
{
    return vlmp_fail(p->err, VLMP_ERR_INPUT,
                     "%s: line %d: %s%s%.*s%s in the chat template; give the prompt's form by hand "
                     "if the template cannot be changed",
                     p->where, now(p)->line, what, detail.length > 0 ? " at '" : "",
                     (int)(detail.length < 60 ? detail.length : 60),
                     detail.length > 0 ? detail.text : "", detail.length > 0 ? "'" : "");
}

int vlmp_jinja_enter(vlmp_jinja_parser *p)
{
    if (++p->depth <= MAX_DEPTH) return VLMP_OK;
    return vlmp_jinja_parse_fail(p, "nesting is too deep", (vlmp_jinja_text){NULL, 0});
}

bool vlmp_jinja_skip_operator(vlmp_jinja_parser *p, int op)
{
    if (now(p)->kind != TOKEN_OPERATOR || now(p)->op != op) return false;
    p->at++;
    return true;
}

int vlmp_jinja_expect_operator(vlmp_jinja_parser *p, int op)
{
    if (vlmp_jinja_skip_operator(p, op)) return VLMP_OK;
    char what[] = "'?' is expected";
    what[1] = (char)op;
    return vlmp_jinja_parse_fail(p, what, now(p)->text);
}

bool vlmp_jinja_at_name(const vlmp_jinja_parser *p, const char *name)
{
    return now(p)->kind == TOKEN_NAME && vlmp_jinja_text_is(now(p)->text, name);
}

bool vlmp_jinja_skip_name(vlmp_jinja_parser *p, const char *name)
{
    if (!vlmp_jinja_at_name(p, name)) return false;
    p->at++;
    return true;
}

static int parse_body(vlmp_jinja_parser *p, const char *const *ends, vlmp_jinja_node **first);

static int end_block(vlmp_jinja_parser *p)
{
    if (now(p)->kind != TOKEN_BLOCK_END)
        return vlmp_jinja_parse_fail(p, "the end of the tag is expected", now(p)->text);
    p->at++;
    return VLMP_OK;
}

static int new_node(vlmp_jinja_parser *p, vlmp_jinja_node_kind kind, vlmp_jinja_node **out)
{
    *out = vlmp_jinja_new_node(p, kind, now(p)->line);
    return *out == NULL ? VLMP_ERR_SYSTEM : VLMP_OK;
}

static int parse_if(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const end[] = {"endif", NULL};
    VLMP_TRY(new_node(p, NODE_IF, out));
    vlmp_jinja_node **last = &(*out)->first;
    for (;;) {
        vlmp_jinja_node *branch;
        VLMP_TRY(new_node(p, NODE_BRANCH, &branch));
        *last = branch;
        last = &branch->next;
        VLMP_TRY(vlmp_jinja_parse_tuple(p, false, &branch->a));
        VLMP_TRY(end_block(p));
        VLMP_TRY(parse_body(p, ends, &branch->first));
        if (vlmp_jinja_skip_name(p, "elif")) continue;
        if (vlmp_jinja_skip_name(p, "endif")) return end_block(p);
        p->at++; /* else */
        VLMP_TRY(end_block(p));
        VLMP_TRY(new_node(p, NODE_BRANCH, &branch));
        *last = branch;
        VLMP_TRY(parse_body(p, end, &branch->first));
        p->at++;
        return end_block(p);
    }
}

static int parse_target(vlmp_jinja_parser *p, bool attributes, vlmp_jinja_node **out)
{
    if (now(p)->kind != TOKEN_NAME)
        return vlmp_jinja_parse_fail(p, "a variable's name is expected", now(p)->text);
    VLMP_TRY(new_node(p, NODE_NAME, out));
    (*out)->name = now(p)->text;
    p->at++;
    if (!attributes || !vlmp_jinja_skip_operator(p, '.')) return VLMP_OK;
    if (now(p)->kind != TOKEN_NAME)
        return vlmp_jinja_parse_fail(p, "an attribute's name is expected", now(p)->text);
    vlmp_jinja_node *object = *out;
    VLMP_TRY(new_node(p, NODE_ATTRIBUTE, out));
    (*out)->a = object;
    (*out)->name = now(p)->text;
    p->at++;
    return VLMP_OK;
}

/* A name, or several, with or without brackets. */
static int parse_targets(vlmp_jinja_parser *p, bool attributes, vlmp_jinja_node **out)
{
    bool bracket = vlmp_jinja_skip_operator(p, '(');
    VLMP_TRY(parse_target(p, attributes, out));
    if (now(p)->kind == TOKEN_OPERATOR && now(p)->op == ',') {
        vlmp_jinja_node *item = *out;
        VLMP_TRY(new_node(p, NODE_LIST, out));
        (*out)->first = item;
        while (vlmp_jinja_skip_operator(p, ',') && now(p)->kind == TOKEN_NAME) {
            VLMP_TRY(parse_target(p, attributes, &item->next));
            item = item->next;
        }
    }
    return bracket ? vlmp_jinja_expect_operator(p, ')') : VLMP_OK;
}

static int parse_for(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const end[] = {"endfor", NULL};
    VLMP_TRY(new_node(p, NODE_FOR, out));
    vlmp_jinja_node *loop = *out;
    VLMP_TRY(parse_targets(p, false, &loop->a));
    if (!vlmp_jinja_skip_name(p, "in"))
        return vlmp_jinja_parse_fail(p, "'in' is expected", now(p)->text);
    VLMP_TRY(vlmp_jinja_parse_tuple(p, false, &loop->b));
    if (vlmp_jinja_skip_name(p, "if")) VLMP_TRY(vlmp_jinja_parse_expression(p, &loop->c));
    if (vlmp_jinja_at_name(p, "recursive"))
        return vlmp_jinja_parse_fail(p, "a recursive loop is not supported", now(p)->text);
    VLMP_TRY(end_block(p));
    p->loops++;
    VLMP_TRY(parse_body(p, ends, &loop->first));
    p->loops--;
    if (vlmp_jinja_skip_name(p, "else")) {
        VLMP_TRY(end_block(p));
        VLMP_TRY(new_node(p, NODE_BRANCH, &loop->d));
        VLMP_TRY(parse_body(p, end, &loop->d->first));
    }
    p->at++;
    return end_block(p);
}

/* Statements up to the tag `end`, which is taken; break and continue do not leave them. */
static int parse_apart(vlmp_jinja_parser *p, const char *end, vlmp_jinja_node **first)
{
    const char *const ends[] = {end, NULL};
    VLMP_TRY(end_block(p));
    int loops = p->loops;
    p->loops = 0;
    VLMP_TRY(parse_body(p, ends, first));
    p->loops = loops;
    p->at++;
    return end_block(p);
}

/* The statements up to `end` as a value, with the filters that the tag names put around it. filters
 * 0: none, 1: the first without its sign. */
static int parse_capture(vlmp_jinja_parser *p, bool filters, const char *end, vlmp_jinja_node **out)
{
    vlmp_jinja_node *capture;
    VLMP_TRY(new_node(p, NODE_CAPTURE, &capture));
    *out = capture;
    if (filters) VLMP_TRY(vlmp_jinja_parse_filter(p, out));
    while (vlmp_jinja_skip_operator(p, '|'))
        VLMP_TRY(vlmp_jinja_parse_filter(p, out));
    return parse_apart(p, end, &capture->first);
}

static int parse_set(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_SET, out));
    VLMP_TRY(parse_targets(p, true, &(*out)->a));
    if (vlmp_jinja_skip_operator(p, '=')) {
        VLMP_TRY(vlmp_jinja_parse_tuple(p, true, &(*out)->b));
        return end_block(p);
    }
    bool block =
        now(p)->kind == TOKEN_BLOCK_END || (now(p)->kind == TOKEN_OPERATOR && now(p)->op == '|');
    if ((*out)->a->kind == NODE_LIST || !block)
        return vlmp_jinja_parse_fail(p, "'=' is expected", now(p)->text);
    return parse_capture(p, false, "endset", &(*out)->b);
}

static int parse_generation(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_SCOPE, out));
    return parse_apart(p, "endgeneration", &(*out)->first);
}

static int parse_filter_block(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_FILTER_BLOCK, out));
    return parse_capture(p, true, "endfilter", &(*out)->a);
}

static int parse_with(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    static const char *const end[] = {"endwith", NULL};
    VLMP_TRY(new_node(p, NODE_WITH, out));
    vlmp_jinja_node **last = &(*out)->a;
    while (now(p)->kind != TOKEN_BLOCK_END) {
        if ((*out)->a != NULL) VLMP_TRY(vlmp_jinja_expect_operator(p, ','));
        VLMP_TRY(new_node(p, NODE_SET, last));
        VLMP_TRY(parse_target(p, false, &(*last)->a));
        VLMP_TRY(vlmp_jinja_expect_operator(p, '='));
        VLMP_TRY(vlmp_jinja_parse_expression(p, &(*last)->b));
        last = &(*last)->next;
    }
    VLMP_TRY(end_block(p));
    VLMP_TRY(parse_body(p, end, &(*out)->first));
    p->at++;
    return end_block(p);
}

/* (a, b=1): behind the opening bracket. */
static int parse_parameters(vlmp_jinja_parser *p, vlmp_jinja_node **first)
{
    vlmp_jinja_node **last = first;
    bool defaults = false;
    while (!vlmp_jinja_skip_operator(p, ')')) {
        if (*first != NULL) VLMP_TRY(vlmp_jinja_expect_operator(p, ','));
        const vlmp_jinja_token *name = now(p);
        if (name->kind != TOKEN_NAME || vlmp_jinja_text_is(name->text, "caller"))
            return vlmp_jinja_parse_fail(p, "a parameter's name is expected", name->text);
        VLMP_TRY(new_node(p, NODE_PARAMETER, last));
        (*last)->name = name->text;
        p->at++;
        if (vlmp_jinja_skip_operator(p, '=')) {
            VLMP_TRY(vlmp_jinja_parse_expression(p, &(*last)->a));
            defaults = true;
        } else if (defaults) {
            return vlmp_jinja_parse_fail(
                p, "a parameter without a default behind one with a default", name->text);
        }
        last = &(*last)->next;
    }
    return VLMP_OK;
}

/* The body of a macro, and which special names it reads. */
static int parse_macro_body(vlmp_jinja_parser *p, const char *end, vlmp_jinja_node *macro)
{
    int special = p->special;
    p->special = 0;
    VLMP_TRY(parse_apart(p, end, &macro->first));
    macro->op = p->special;
    p->special |= special;
    return VLMP_OK;
}

static int parse_macro(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_MACRO, out));
    if (now(p)->kind != TOKEN_NAME)
        return vlmp_jinja_parse_fail(p, "a macro's name is expected", now(p)->text);
    (*out)->name = now(p)->text;
    p->at++;
    VLMP_TRY(vlmp_jinja_expect_operator(p, '('));
    VLMP_TRY(parse_parameters(p, &(*out)->a));
    return parse_macro_body(p, "endmacro", *out);
}

static int parse_call_block(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_CALL_BLOCK, out));
    VLMP_TRY(new_node(p, NODE_MACRO, &(*out)->b));
    (*out)->b->name = (vlmp_jinja_text){"caller", 6};
    if (vlmp_jinja_skip_operator(p, '(')) VLMP_TRY(parse_parameters(p, &(*out)->b->a));
    VLMP_TRY(vlmp_jinja_parse_expression(p, &(*out)->a));
    if ((*out)->a->kind != NODE_CALL)
        return vlmp_jinja_parse_fail(p, "a call is expected", now(p)->text);
    return parse_macro_body(p, "endcall", (*out)->b);
}

static int parse_statement(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    const vlmp_jinja_token *tag = now(p);
    p->at++;
    static const struct {
        const char *name;
        int (*parse)(vlmp_jinja_parser *p, vlmp_jinja_node **out);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (vlmp_jinja_text_is(tag->text, statements[i].name)) return statements[i].parse(p, out);
    bool leave = vlmp_jinja_text_is(tag->text, "break");
    if (leave || vlmp_jinja_text_is(tag->text, "continue")) {
        if (p->loops == 0) return vlmp_jinja_parse_fail(p, "there is no loop to leave", tag->text);
        VLMP_TRY(new_node(p, leave ? NODE_BREAK : NODE_CONTINUE, out));
        return end_block(p);
    }
    p->at--;
    return vlmp_jinja_parse_fail(p, "this tag is unknown, not supported, or out of place,",
                                 tag->text);
}

static int parse_print(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    p->at++;
    VLMP_TRY(new_node(p, NODE_PRINT, out));
    VLMP_TRY(vlmp_jinja_parse_tuple(p, true, &(*out)->a));
    if (now(p)->kind != TOKEN_PRINT_END)
        return vlmp_jinja_parse_fail(p, "'}}' is expected", now(p)->text);
    p->at++;
    return VLMP_OK;
}

static bool is_end(const vlmp_jinja_parser *p, const char *const *ends)
{
    for (; *ends != NULL; ends++)
        if (vlmp_jinja_at_name(p, *ends)) return true;
    return false;
}

/* Up to a tag of `ends`, which becomes the current token; without ends, up to the end. */
static int parse_body(vlmp_jinja_parser *p, const char *const *ends, vlmp_jinja_node **first)
{
    VLMP_TRY(vlmp_jinja_enter(p));
    vlmp_jinja_node **last = first;
    for (;;) {
        const vlmp_jinja_token *token = now(p);
        if (token->kind == TOKEN_END) {
            if (*ends == NULL) break;
            return vlmp_jinja_parse_fail(p, "a tag is missing its end",
                                         (vlmp_jinja_text){*ends, strlen(*ends)});
        }
        if (token->kind == TOKEN_DATA) {
            VLMP_TRY(new_node(p, NODE_DATA, last));
            (*last)->name = token->text;
            p->at++;
        } else if (token->kind == TOKEN_PRINT_BEGIN) {
            VLMP_TRY(parse_print(p, last));
        } else {
            p->at++; /* TOKEN_BLOCK_BEGIN */
            if (is_end(p, ends)) break;
            if (now(p)->kind != TOKEN_NAME)
                return vlmp_jinja_parse_fail(p, "a tag's name is expected", now(p)->text);
            VLMP_TRY(parse_statement(p, last));
        }
        last = &(*last)->next;
    }
    p->depth--;
    return VLMP_OK;
}

int vlmp_jinja_parse(vlmp_jinja_parser *p, vlmp_jinja_node **root)
{
    static const char *const none[] = {NULL};
    *root = NULL;
    return parse_body(p, none, root);
}
