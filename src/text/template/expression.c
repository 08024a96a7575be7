/* Expressions, by recursive descent with Jinja's precedences. */
#include <string.h>

#include "src/text/template/jinja.h"

static const vlmp_jinja_token *now(const vlmp_jinja_parser *p)
{
    return &p->tokens[p->at];
}

static bool at_operator(const vlmp_jinja_parser *p, int op)
{
    return now(p)->kind == TOKEN_OPERATOR && now(p)->op == op;
}

static int node_with(vlmp_jinja_parser *p, vlmp_jinja_node_kind kind, vlmp_jinja_node *a,
                     vlmp_jinja_node *b, vlmp_jinja_node **out)
{
    vlmp_jinja_node *node = vlmp_jinja_new_node(p, kind, now(p)->line);
    if (node == NULL) return VLMP_ERR_SYSTEM;
    node->a = a;
    node->b = b;
    *out = node;
    return VLMP_OK;
}

static int parse_unary(vlmp_jinja_parser *p, bool with_filter, vlmp_jinja_node **out);

/* first …, up to the closing operator, which is taken. Keywords only in calls. */
static int parse_list(vlmp_jinja_parser *p, int close, bool keywords, vlmp_jinja_node **first)
{
    vlmp_jinja_node **last = first;
    *first = NULL;
    while (!vlmp_jinja_skip_operator(p, close)) {
        if (*first != NULL) {
            VLMP_TRY(vlmp_jinja_expect_operator(p, ','));
            if (vlmp_jinja_skip_operator(p, close)) return VLMP_OK;
        }
        const vlmp_jinja_token *name = now(p);
        bool keyword = keywords && name->kind == TOKEN_NAME && name[1].kind == TOKEN_OPERATOR &&
                       name[1].op == '=';
        if (keyword) p->at += 2;
        vlmp_jinja_node *item;
        VLMP_TRY(vlmp_jinja_parse_expression(p, &item));
        if (keyword) {
            VLMP_TRY(node_with(p, NODE_KEYWORD, item, NULL, &item));
            item->name = name->text;
        }
        /* A node may already be someone's list item only through its wrapper. */
        *last = item;
        last = &item->next;
    }
    return VLMP_OK;
}

static int parse_dict(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(node_with(p, NODE_DICT, NULL, NULL, out));
    vlmp_jinja_node **last = &(*out)->first;
    while (!vlmp_jinja_skip_operator(p, '}')) {
        if ((*out)->first != NULL) {
            VLMP_TRY(vlmp_jinja_expect_operator(p, ','));
            if (vlmp_jinja_skip_operator(p, '}')) return VLMP_OK;
        }
        VLMP_TRY(vlmp_jinja_parse_expression(p, last));
        last = &(*last)->next;
        VLMP_TRY(vlmp_jinja_expect_operator(p, ':'));
        VLMP_TRY(vlmp_jinja_parse_expression(p, last));
        last = &(*last)->next;
    }
    return VLMP_OK;
}

static int parse_string(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(node_with(p, NODE_CONSTANT, NULL, NULL, out));
    vlmp_jinja_text text = now(p)->text;
    p->at++;
    while (now(p)->kind == TOKEN_STRING) { /* neighbours are one string, as in Python */
        vlmp_jinja_text more = now(p)->text;
        char *joined = vlmp_arena_alloc(p->arena, text.length + more.length + 1, 1);
        if (joined == NULL) return vlmp_fail_memory(p->err, p->where);
        memcpy(joined, text.text, text.length);
        memcpy(joined + text.length, more.text, more.length);
        text = (vlmp_jinja_text){joined, text.length + more.length};
        p->at++;
    }
    (*out)->value = (vlmp_jinja_value){.kind = VALUE_STRING, .text = text};
    return VLMP_OK;
}

static int parse_name(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    static const struct {
        const char *name;
        vlmp_jinja_value value;
    } constants[] = {
        {"true", {VALUE_BOOL, {.truth = true}}},   {"True", {VALUE_BOOL, {.truth = true}}},
        {"false", {VALUE_BOOL, {.truth = false}}}, {"False", {VALUE_BOOL, {.truth = false}}},
        {"none", {VALUE_NONE, {.number = 0}}},     {"None", {VALUE_NONE, {.number = 0}}},
    };
    vlmp_jinja_text name = now(p)->text;
    VLMP_TRY(node_with(p, NODE_NAME, NULL, NULL, out));
    (*out)->name = name;
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        if (!vlmp_jinja_text_is(name, constants[i].name)) continue;
        (*out)->kind = NODE_CONSTANT;
        (*out)->value = constants[i].value;
    }
    p->special |= vlmp_jinja_text_is(name, "caller")    ? MACRO_CALLER
                  : vlmp_jinja_text_is(name, "varargs") ? MACRO_VARARGS
                  : vlmp_jinja_text_is(name, "kwargs")  ? MACRO_KWARGS
                                                        : 0;
    p->at++;
    return VLMP_OK;
}

static int parse_bracket(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    if (vlmp_jinja_skip_operator(p, '[')) {
        VLMP_TRY(node_with(p, NODE_LIST, NULL, NULL, out));
        return parse_list(p, ']', false, &(*out)->first);
    }
    if (vlmp_jinja_skip_operator(p, '{')) return parse_dict(p, out);
    p->at++; /* ( */
    if (vlmp_jinja_skip_operator(p, ')')) {
        VLMP_TRY(node_with(p, NODE_LIST, NULL, NULL, out));
        (*out)->op = 1;
        return VLMP_OK;
    }
    VLMP_TRY(vlmp_jinja_parse_tuple(p, true, out));
    return vlmp_jinja_expect_operator(p, ')');
}

static int parse_primary(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    const vlmp_jinja_token *token = now(p);
    if (token->kind == TOKEN_NAME) return parse_name(p, out);
    if (token->kind == TOKEN_STRING) return parse_string(p, out);
    if (token->kind == TOKEN_INTEGER) {
        VLMP_TRY(node_with(p, NODE_CONSTANT, NULL, NULL, out));
        (*out)->value = (vlmp_jinja_value){.kind = VALUE_INTEGER, .number = token->number};
        p->at++;
        return VLMP_OK;
    }
    if (token->kind == TOKEN_FLOAT) {
        VLMP_TRY(node_with(p, NODE_CONSTANT, NULL, NULL, out));
        (*out)->value = (vlmp_jinja_value){.kind = VALUE_FLOAT, .real = token->real};
        p->at++;
        return VLMP_OK;
    }
    if (at_operator(p, '(') || at_operator(p, '[') || at_operator(p, '{'))
        return parse_bracket(p, out);
    return vlmp_jinja_parse_fail(p, "an expression is expected", token->text);
}

/* a[b], a[b:c], a[b:c:d]; behind the opening bracket. */
static int parse_subscript(vlmp_jinja_parser *p, vlmp_jinja_node *a, vlmp_jinja_node **out)
{
    vlmp_jinja_node *parts[3] = {NULL, NULL, NULL};
    int colons = 0;
    while (!at_operator(p, ']')) {
        if (vlmp_jinja_skip_operator(p, ':')) {
            if (++colons > 2) return vlmp_jinja_parse_fail(p, "too many colons", now(p)->text);
            continue;
        }
        if (parts[colons] != NULL) return vlmp_jinja_parse_fail(p, "']' is expected", now(p)->text);
        VLMP_TRY(vlmp_jinja_parse_expression(p, &parts[colons]));
    }
    p->at++;
    if (colons == 0 && parts[0] == NULL)
        return vlmp_jinja_parse_fail(p, "an expression is expected", now(p)->text);
    VLMP_TRY(node_with(p, colons > 0 ? NODE_SLICE : NODE_ITEM, a, parts[0], out));
    (*out)->c = parts[1];
    (*out)->d = parts[2];
    return VLMP_OK;
}

static int parse_dot(vlmp_jinja_parser *p, vlmp_jinja_node *a, vlmp_jinja_node **out)
{
    const vlmp_jinja_token *token = now(p);
    p->at++;
    if (token->kind == TOKEN_NAME) {
        VLMP_TRY(node_with(p, NODE_ATTRIBUTE, a, NULL, out));
        (*out)->name = token->text;
        return VLMP_OK;
    }
    if (token->kind != TOKEN_INTEGER) {
        p->at--;
        return vlmp_jinja_parse_fail(p, "a name is expected behind '.'", token->text);
    }
    vlmp_jinja_node *index;
    VLMP_TRY(node_with(p, NODE_CONSTANT, NULL, NULL, &index));
    index->value = (vlmp_jinja_value){.kind = VALUE_INTEGER, .number = token->number};
    return node_with(p, NODE_ITEM, a, index, out);
}

static int parse_call(vlmp_jinja_parser *p, vlmp_jinja_node *a, vlmp_jinja_node **out)
{
    VLMP_TRY(node_with(p, NODE_CALL, a, NULL, out));
    return parse_list(p, ')', true, &(*out)->first);
}

static int parse_postfix(vlmp_jinja_parser *p, vlmp_jinja_node **node)
{
    for (;;) {
        if (vlmp_jinja_skip_operator(p, '.'))
            VLMP_TRY(parse_dot(p, *node, node));
        else if (vlmp_jinja_skip_operator(p, '['))
            VLMP_TRY(parse_subscript(p, *node, node));
        else if (vlmp_jinja_skip_operator(p, '('))
            VLMP_TRY(parse_call(p, *node, node));
        else
            return VLMP_OK;
    }
}

int vlmp_jinja_parse_filter(vlmp_jinja_parser *p, vlmp_jinja_node **node)
{
    const vlmp_jinja_token *token = now(p);
    if (token->kind != TOKEN_NAME)
        return vlmp_jinja_parse_fail(p, "a filter's name is expected", token->text);
    p->at++;
    VLMP_TRY(node_with(p, NODE_FILTER, *node, NULL, node));
    (*node)->name = token->text;
    return vlmp_jinja_skip_operator(p, '(') ? parse_list(p, ')', true, &(*node)->first) : VLMP_OK;
}

static bool starts_argument(const vlmp_jinja_parser *p)
{
    const vlmp_jinja_token *token = now(p);
    if (token->kind == TOKEN_NAME)
        return !vlmp_jinja_at_name(p, "else") && !vlmp_jinja_at_name(p, "or") &&
               !vlmp_jinja_at_name(p, "and");
    return token->kind == TOKEN_STRING || token->kind == TOKEN_INTEGER ||
           token->kind == TOKEN_FLOAT || at_operator(p, '[') || at_operator(p, '{');
}

/* a is [not] name [argument] */
static int parse_test(vlmp_jinja_parser *p, vlmp_jinja_node **node)
{
    bool negated = vlmp_jinja_skip_name(p, "not");
    const vlmp_jinja_token *token = now(p);
    if (token->kind != TOKEN_NAME)
        return vlmp_jinja_parse_fail(p, "a test's name is expected", token->text);
    p->at++;
    VLMP_TRY(node_with(p, NODE_TEST, *node, NULL, node));
    (*node)->name = token->text;
    if (vlmp_jinja_skip_operator(p, '(')) {
        VLMP_TRY(parse_list(p, ')', true, &(*node)->first));
    } else if (starts_argument(p)) {
        if (vlmp_jinja_at_name(p, "is"))
            return vlmp_jinja_parse_fail(p, "tests cannot be chained with", now(p)->text);
        VLMP_TRY(parse_primary(p, &(*node)->first));
        VLMP_TRY(parse_postfix(p, &(*node)->first));
    }
    return negated ? node_with(p, NODE_NOT, *node, NULL, node) : VLMP_OK;
}

static int parse_filters(vlmp_jinja_parser *p, vlmp_jinja_node **node)
{
    for (;;) {
        if (vlmp_jinja_skip_operator(p, '|'))
            VLMP_TRY(vlmp_jinja_parse_filter(p, node));
        else if (vlmp_jinja_skip_name(p, "is"))
            VLMP_TRY(parse_test(p, node));
        else if (vlmp_jinja_skip_operator(p, '('))
            VLMP_TRY(parse_call(p, *node, node));
        else
            return VLMP_OK;
    }
}

static int parse_unary(vlmp_jinja_parser *p, bool with_filter, vlmp_jinja_node **out)
{
    VLMP_TRY(vlmp_jinja_enter(p));
    bool minus = at_operator(p, '-');
    if (minus || at_operator(p, '+')) {
        p->at++;
        vlmp_jinja_node *operand;
        VLMP_TRY(parse_unary(p, false, &operand));
        VLMP_TRY(node_with(p, minus ? NODE_NEGATIVE : NODE_POSITIVE, operand, NULL, out));
    } else {
        VLMP_TRY(parse_primary(p, out));
    }
    VLMP_TRY(parse_postfix(p, out));
    if (with_filter) VLMP_TRY(parse_filters(p, out));
    p->depth--;
    return VLMP_OK;
}

/* Left-associative operators: level 0 is + -, 1 is ~, 2 is * / // %, 3 is **. */
static int parse_binary(vlmp_jinja_parser *p, int level, vlmp_jinja_node **out)
{
    static const int operators[4][4] = {{'+', '-', 0, 0},
                                        {'~', 0, 0, 0},
                                        {'*', '/', OPERATOR2('/', '/'), '%'},
                                        {OPERATOR2('*', '*'), 0, 0, 0}};
    VLMP_TRY(level == 3 ? parse_unary(p, true, out) : parse_binary(p, level + 1, out));
    for (;;) {
        int op = now(p)->kind == TOKEN_OPERATOR ? now(p)->op : 0, i = 0;
        while (i < 4 && operators[level][i] != op)
            i++;
        if (op == 0 || i == 4) return VLMP_OK;
        p->at++;
        vlmp_jinja_node *right;
        VLMP_TRY(level == 3 ? parse_unary(p, true, &right) : parse_binary(p, level + 1, &right));
        VLMP_TRY(node_with(p, NODE_BINARY, *out, right, out));
        (*out)->op = op;
    }
}

static int comparison(vlmp_jinja_parser *p)
{
    static const int operators[] = {OPERATOR2('=', '='),
                                    OPERATOR2('!', '='),
                                    OPERATOR2('>', '='),
                                    OPERATOR2('<', '='),
                                    '<',
                                    '>'};
    if (vlmp_jinja_skip_name(p, "in")) return COMPARE_IN;
    if (vlmp_jinja_at_name(p, "not") && now(p)[1].kind == TOKEN_NAME &&
        vlmp_jinja_text_is(now(p)[1].text, "in")) {
        p->at += 2;
        return COMPARE_NOT_IN;
    }
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (vlmp_jinja_skip_operator(p, operators[i])) return operators[i];
    return 0;
}

static int parse_comparison(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(parse_binary(p, 0, out));
    vlmp_jinja_node **last = NULL;
    for (;;) {
        int op = comparison(p);
        if (op == 0) return VLMP_OK;
        vlmp_jinja_node *right, *operand;
        VLMP_TRY(parse_binary(p, 0, &right));
        VLMP_TRY(node_with(p, NODE_COMPARE, right, NULL, &operand));
        operand->op = op;
        if (last == NULL) {
            VLMP_TRY(node_with(p, NODE_COMPARE, *out, NULL, out));
            last = &(*out)->first;
        }
        *last = operand;
        last = &operand->next;
    }
}

static int parse_not(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    if (!vlmp_jinja_skip_name(p, "not")) return parse_comparison(p, out);
    VLMP_TRY(vlmp_jinja_enter(p));
    vlmp_jinja_node *operand;
    VLMP_TRY(parse_not(p, &operand));
    p->depth--;
    return node_with(p, NODE_NOT, operand, NULL, out);
}

static int parse_and(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(parse_not(p, out));
    while (vlmp_jinja_skip_name(p, "and")) {
        vlmp_jinja_node *right;
        VLMP_TRY(parse_not(p, &right));
        VLMP_TRY(node_with(p, NODE_AND, *out, right, out));
    }
    return VLMP_OK;
}

static int parse_or(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(parse_and(p, out));
    while (vlmp_jinja_skip_name(p, "or")) {
        vlmp_jinja_node *right;
        VLMP_TRY(parse_and(p, &right));
        VLMP_TRY(node_with(p, NODE_OR, *out, right, out));
    }
    return VLMP_OK;
}

int vlmp_jinja_parse_expression(vlmp_jinja_parser *p, vlmp_jinja_node **out)
{
    VLMP_TRY(vlmp_jinja_enter(p));
    VLMP_TRY(parse_or(p, out));
    while (vlmp_jinja_skip_name(p, "if")) {
        vlmp_jinja_node *condition, *otherwise = NULL;
        VLMP_TRY(parse_or(p, &condition));
        if (vlmp_jinja_skip_name(p, "else")) VLMP_TRY(vlmp_jinja_parse_expression(p, &otherwise));
        VLMP_TRY(node_with(p, NODE_CONDITION, *out, condition, out));
        (*out)->c = otherwise;
    }
    p->depth--;
    return VLMP_OK;
}

static bool ends_tuple(const vlmp_jinja_parser *p)
{
    vlmp_jinja_token_kind kind = now(p)->kind;
    return kind == TOKEN_PRINT_END || kind == TOKEN_BLOCK_END || at_operator(p, ')') ||
           at_operator(p, '=') || vlmp_jinja_at_name(p, "in");
}

int vlmp_jinja_parse_tuple(vlmp_jinja_parser *p, bool with_condition, vlmp_jinja_node **out)
{
    VLMP_TRY(with_condition ? vlmp_jinja_parse_expression(p, out) : parse_or(p, out));
    if (!at_operator(p, ',')) return VLMP_OK;
    vlmp_jinja_node *item = *out;
    VLMP_TRY(node_with(p, NODE_LIST, NULL, NULL, out));
    (*out)->op = 1;
    (*out)->first = item;
    while (vlmp_jinja_skip_operator(p, ',') && !ends_tuple(p)) {
        VLMP_TRY(with_condition ? vlmp_jinja_parse_expression(p, &item->next)
                                : parse_or(p, &item->next));
        item = item->next;
    }
    return VLMP_OK;
}
