/* Statements: the tags of a template and what is between them. */
#include <string.h>

#include "src/model/jinja.h"

#define MAX_DEPTH 100

static const jinja_token *now(const jinja_parser *p)
{
    return &p->tokens[p->at];
}

jinja_node *jinja_new_node(jinja_parser *p, jinja_node_kind kind, int line)
{
    jinja_node *node = vlmp_arena_alloc(p->arena, 1, sizeof *node);
    if (node == NULL) {
        vlmp_fail_memory(p->err, p->where);
        return NULL;
    }
    node->kind = kind;
    node->line = line;
    return node;
}

int jinja_parse_fail(jinja_parser *p, const char *what, jinja_text detail)
{
    return vlmp_fail(p->err, VLMP_ERR_INPUT,
                     "%s: line %d: %s%s%.*s%s in the chat template; give the prompt's form by hand "
                     "if the template cannot be changed",
                     p->where, now(p)->line, what, detail.length > 0 ? " at '" : "",
                     (int)(detail.length < 60 ? detail.length : 60),
                     detail.length > 0 ? detail.text : "", detail.length > 0 ? "'" : "");
}

int jinja_enter(jinja_parser *p)
{
    if (++p->depth <= MAX_DEPTH) return VLMP_OK;
    return jinja_parse_fail(p, "nesting is too deep", (jinja_text){NULL, 0});
}

bool jinja_skip_operator(jinja_parser *p, int op)
{
    if (now(p)->kind != TOKEN_OPERATOR || now(p)->op != op) return false;
    p->at++;
    return true;
}

int jinja_expect_operator(jinja_parser *p, int op)
{
    if (jinja_skip_operator(p, op)) return VLMP_OK;
    char what[] = "'?' is expected";
    what[1] = (char)op;
    return jinja_parse_fail(p, what, now(p)->text);
}

bool jinja_at_name(const jinja_parser *p, const char *name)
{
    return now(p)->kind == TOKEN_NAME && jinja_text_is(now(p)->text, name);
}

bool jinja_skip_name(jinja_parser *p, const char *name)
{
    if (!jinja_at_name(p, name)) return false;
    p->at++;
    return true;
}

static int parse_body(jinja_parser *p, const char *const *ends, jinja_node **first);

static int end_block(jinja_parser *p)
{
    if (now(p)->kind != TOKEN_BLOCK_END)
        return jinja_parse_fail(p, "the end of the tag is expected", now(p)->text);
    p->at++;
    return VLMP_OK;
}

static int new_node(jinja_parser *p, jinja_node_kind kind, jinja_node **out)
{
    *out = jinja_new_node(p, kind, now(p)->line);
    return *out == NULL ? VLMP_ERR_SYSTEM : VLMP_OK;
}

static int parse_if(jinja_parser *p, jinja_node **out)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const end[] = {"endif", NULL};
    VLMP_TRY(new_node(p, NODE_IF, out));
    jinja_node **last = &(*out)->first;
    for (;;) {
        jinja_node *branch;
        VLMP_TRY(new_node(p, NODE_BRANCH, &branch));
        *last = branch;
        last = &branch->next;
        VLMP_TRY(jinja_parse_tuple(p, false, &branch->a));
        VLMP_TRY(end_block(p));
        VLMP_TRY(parse_body(p, ends, &branch->first));
        if (jinja_skip_name(p, "elif")) continue;
        if (jinja_skip_name(p, "endif")) return end_block(p);
        p->at++; /* else */
        VLMP_TRY(end_block(p));
        VLMP_TRY(new_node(p, NODE_BRANCH, &branch));
        *last = branch;
        VLMP_TRY(parse_body(p, end, &branch->first));
        p->at++;
        return end_block(p);
    }
}

static int parse_target(jinja_parser *p, bool attributes, jinja_node **out)
{
    if (now(p)->kind != TOKEN_NAME)
        return jinja_parse_fail(p, "a variable's name is expected", now(p)->text);
    VLMP_TRY(new_node(p, NODE_NAME, out));
    (*out)->name = now(p)->text;
    p->at++;
    if (!attributes || !jinja_skip_operator(p, '.')) return VLMP_OK;
    if (now(p)->kind != TOKEN_NAME)
        return jinja_parse_fail(p, "an attribute's name is expected", now(p)->text);
    jinja_node *object = *out;
    VLMP_TRY(new_node(p, NODE_ATTRIBUTE, out));
    (*out)->a = object;
    (*out)->name = now(p)->text;
    p->at++;
    return VLMP_OK;
}

/* A name, or several, with or without brackets. */
static int parse_targets(jinja_parser *p, bool attributes, jinja_node **out)
{
    bool bracket = jinja_skip_operator(p, '(');
    VLMP_TRY(parse_target(p, attributes, out));
    if (now(p)->kind == TOKEN_OPERATOR && now(p)->op == ',') {
        jinja_node *item = *out;
        VLMP_TRY(new_node(p, NODE_LIST, out));
        (*out)->first = item;
        while (jinja_skip_operator(p, ',') && now(p)->kind == TOKEN_NAME) {
            VLMP_TRY(parse_target(p, attributes, &item->next));
            item = item->next;
        }
    }
    return bracket ? jinja_expect_operator(p, ')') : VLMP_OK;
}

static int parse_for(jinja_parser *p, jinja_node **out)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    static const char *const end[] = {"endfor", NULL};
    VLMP_TRY(new_node(p, NODE_FOR, out));
    jinja_node *loop = *out;
    VLMP_TRY(parse_targets(p, false, &loop->a));
    if (!jinja_skip_name(p, "in")) return jinja_parse_fail(p, "'in' is expected", now(p)->text);
    VLMP_TRY(jinja_parse_tuple(p, false, &loop->b));
    if (jinja_skip_name(p, "if")) VLMP_TRY(jinja_parse_expression(p, &loop->c));
    if (jinja_at_name(p, "recursive"))
        return jinja_parse_fail(p, "a recursive loop is not supported", now(p)->text);
    VLMP_TRY(end_block(p));
    p->loops++;
    VLMP_TRY(parse_body(p, ends, &loop->first));
    p->loops--;
    if (jinja_skip_name(p, "else")) {
        VLMP_TRY(end_block(p));
        VLMP_TRY(new_node(p, NODE_BRANCH, &loop->d));
        VLMP_TRY(parse_body(p, end, &loop->d->first));
    }
    p->at++;
    return end_block(p);
}

/* Statements up to the tag `end`, which is taken; break and continue do not leave them. */
static int parse_apart(jinja_parser *p, const char *end, jinja_node **first)
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
static int parse_capture(jinja_parser *p, bool filters, const char *end, jinja_node **out)
{
    jinja_node *capture;
    VLMP_TRY(new_node(p, NODE_CAPTURE, &capture));
    *out = capture;
    if (filters) VLMP_TRY(jinja_parse_filter(p, out));
    while (jinja_skip_operator(p, '|'))
        VLMP_TRY(jinja_parse_filter(p, out));
    return parse_apart(p, end, &capture->first);
}

static int parse_set(jinja_parser *p, jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_SET, out));
    VLMP_TRY(parse_targets(p, true, &(*out)->a));
    if (jinja_skip_operator(p, '=')) {
        VLMP_TRY(jinja_parse_tuple(p, true, &(*out)->b));
        return end_block(p);
    }
    bool block =
        now(p)->kind == TOKEN_BLOCK_END || (now(p)->kind == TOKEN_OPERATOR && now(p)->op == '|');
    if ((*out)->a->kind == NODE_LIST || !block)
        return jinja_parse_fail(p, "'=' is expected", now(p)->text);
    return parse_capture(p, false, "endset", &(*out)->b);
}

static int parse_generation(jinja_parser *p, jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_SCOPE, out));
    return parse_apart(p, "endgeneration", &(*out)->first);
}

static int parse_filter_block(jinja_parser *p, jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_PRINT, out));
    return parse_capture(p, true, "endfilter", &(*out)->a);
}

static int parse_with(jinja_parser *p, jinja_node **out)
{
    static const char *const end[] = {"endwith", NULL};
    VLMP_TRY(new_node(p, NODE_WITH, out));
    jinja_node **last = &(*out)->a;
    while (now(p)->kind != TOKEN_BLOCK_END) {
        if ((*out)->a != NULL) VLMP_TRY(jinja_expect_operator(p, ','));
        VLMP_TRY(new_node(p, NODE_SET, last));
        VLMP_TRY(parse_target(p, false, &(*last)->a));
        VLMP_TRY(jinja_expect_operator(p, '='));
        VLMP_TRY(jinja_parse_expression(p, &(*last)->b));
        last = &(*last)->next;
    }
    VLMP_TRY(end_block(p));
    VLMP_TRY(parse_body(p, end, &(*out)->first));
    p->at++;
    return end_block(p);
}

/* (a, b=1): behind the opening bracket. */
static int parse_parameters(jinja_parser *p, jinja_node **first)
{
    jinja_node **last = first;
    bool defaults = false;
    while (!jinja_skip_operator(p, ')')) {
        if (*first != NULL) VLMP_TRY(jinja_expect_operator(p, ','));
        const jinja_token *name = now(p);
        if (name->kind != TOKEN_NAME || jinja_text_is(name->text, "caller"))
            return jinja_parse_fail(p, "a parameter's name is expected", name->text);
        VLMP_TRY(new_node(p, NODE_PARAMETER, last));
        (*last)->name = name->text;
        p->at++;
        if (jinja_skip_operator(p, '=')) {
            VLMP_TRY(jinja_parse_expression(p, &(*last)->a));
            defaults = true;
        } else if (defaults) {
            return jinja_parse_fail(p, "a parameter without a default behind one with a default",
                                    name->text);
        }
        last = &(*last)->next;
    }
    return VLMP_OK;
}

/* The body of a macro, and which special names it reads. */
static int parse_macro_body(jinja_parser *p, const char *end, jinja_node *macro)
{
    int special = p->special;
    p->special = 0;
    VLMP_TRY(parse_apart(p, end, &macro->first));
    macro->op = p->special;
    p->special |= special;
    return VLMP_OK;
}

static int parse_macro(jinja_parser *p, jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_MACRO, out));
    if (now(p)->kind != TOKEN_NAME)
        return jinja_parse_fail(p, "a macro's name is expected", now(p)->text);
    (*out)->name = now(p)->text;
    p->at++;
    VLMP_TRY(jinja_expect_operator(p, '('));
    VLMP_TRY(parse_parameters(p, &(*out)->a));
    return parse_macro_body(p, "endmacro", *out);
}

static int parse_call_block(jinja_parser *p, jinja_node **out)
{
    VLMP_TRY(new_node(p, NODE_CALL_BLOCK, out));
    VLMP_TRY(new_node(p, NODE_MACRO, &(*out)->b));
    (*out)->b->name = (jinja_text){"caller", 6};
    if (jinja_skip_operator(p, '(')) VLMP_TRY(parse_parameters(p, &(*out)->b->a));
    VLMP_TRY(jinja_parse_expression(p, &(*out)->a));
    if ((*out)->a->kind != NODE_CALL)
        return jinja_parse_fail(p, "a call is expected", now(p)->text);
    return parse_macro_body(p, "endcall", (*out)->b);
}

static int parse_statement(jinja_parser *p, jinja_node **out)
{
    const jinja_token *tag = now(p);
    p->at++;
    static const struct {
        const char *name;
        int (*parse)(jinja_parser *p, jinja_node **out);
    } statements[] = {
        {"if", parse_if},           {"for", parse_for},
        {"set", parse_set},         {"macro", parse_macro},
        {"call", parse_call_block}, {"filter", parse_filter_block},
        {"with", parse_with},       {"generation", parse_generation},
    };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (jinja_text_is(tag->text, statements[i].name)) return statements[i].parse(p, out);
    bool leave = jinja_text_is(tag->text, "break");
    if (leave || jinja_text_is(tag->text, "continue")) {
        if (p->loops == 0) return jinja_parse_fail(p, "there is no loop to leave", tag->text);
        VLMP_TRY(new_node(p, leave ? NODE_BREAK : NODE_CONTINUE, out));
        return end_block(p);
    }
    p->at--;
    return jinja_parse_fail(p, "this tag is unknown, not supported, or out of place,", tag->text);
}

static int parse_print(jinja_parser *p, jinja_node **out)
{
    p->at++;
    VLMP_TRY(new_node(p, NODE_PRINT, out));
    VLMP_TRY(jinja_parse_tuple(p, true, &(*out)->a));
    if (now(p)->kind != TOKEN_PRINT_END)
        return jinja_parse_fail(p, "'}}' is expected", now(p)->text);
    p->at++;
    return VLMP_OK;
}

static bool is_end(const jinja_parser *p, const char *const *ends)
{
    for (; *ends != NULL; ends++)
        if (jinja_at_name(p, *ends)) return true;
    return false;
}

/* Up to a tag of `ends`, which becomes the current token; without ends, up to the end. */
static int parse_body(jinja_parser *p, const char *const *ends, jinja_node **first)
{
    VLMP_TRY(jinja_enter(p));
    jinja_node **last = first;
    for (;;) {
        const jinja_token *token = now(p);
        if (token->kind == TOKEN_END) {
            if (*ends == NULL) break;
            return jinja_parse_fail(p, "a tag is missing its end",
                                    (jinja_text){*ends, strlen(*ends)});
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
                return jinja_parse_fail(p, "a tag's name is expected", now(p)->text);
            VLMP_TRY(parse_statement(p, last));
        }
        last = &(*last)->next;
    }
    p->depth--;
    return VLMP_OK;
}

int jinja_parse(jinja_parser *p, jinja_node **root)
{
    static const char *const none[] = {NULL};
    *root = NULL;
    return parse_body(p, none, root);
}
