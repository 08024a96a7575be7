/* Shared by the files of the template interpreter only: tokens, syntax tree, values. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/error.h"
#include "src/base/memory.h"

typedef struct {
    const char *text;
    size_t length;
} jinja_text;

typedef enum {
    TOKEN_END,
    TOKEN_DATA,
    TOKEN_BLOCK_BEGIN,
    TOKEN_BLOCK_END,
    TOKEN_PRINT_BEGIN,
    TOKEN_PRINT_END,
    TOKEN_NAME,
    TOKEN_STRING,
    TOKEN_INTEGER,
    TOKEN_OPERATOR
} jinja_token_kind;

#define OPERATOR2(a, b) ((a) << 8 | (b))

typedef struct {
    jinja_token_kind kind;
    int line;
    int op;          /* TOKEN_OPERATOR: the character, or OPERATOR2 */
    int64_t number;  /* TOKEN_INTEGER */
    jinja_text text; /* TOKEN_DATA, NAME, STRING (escapes resolved) */
} jinja_token;

typedef struct jinja_value jinja_value;

typedef enum {
    VALUE_UNDEFINED, /* text: the name that was looked for */
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_DICT,
    VALUE_NAMESPACE,
    VALUE_LOOP,
    VALUE_FUNCTION /* text: its name */
} jinja_value_kind;

typedef struct {
    jinja_value *items;
    size_t count;
} jinja_list;

typedef struct {
    jinja_text *keys;
    jinja_value *values;
    size_t count, capacity;
} jinja_dict;

typedef struct {
    const jinja_list *list;
    size_t index;
} jinja_loop;

struct jinja_value {
    jinja_value_kind kind;
    union {
        bool truth;
        int64_t number;
        jinja_text text;
        jinja_list *list;
        jinja_dict *dict; /* VALUE_DICT, VALUE_NAMESPACE */
        const jinja_loop *loop;
    };
};

typedef enum {
    /* expressions */
    NODE_CONSTANT,  /* value */
    NODE_NAME,      /* name */
    NODE_LIST,      /* first … */
    NODE_DICT,      /* first …: key, value, key, value */
    NODE_ATTRIBUTE, /* a, name */
    NODE_ITEM,      /* a[b] */
    NODE_SLICE,     /* a[b:c:d], each of them may be NULL */
    NODE_CALL,      /* a(first …) */
    NODE_FILTER,    /* a | name(first …) */
    NODE_TEST,      /* a is name(first …) */
    NODE_KEYWORD,   /* name=a, in arguments */
    NODE_NOT,
    NODE_NEGATIVE,
    NODE_POSITIVE,
    NODE_AND,
    NODE_OR,
    NODE_BINARY,    /* a op b */
    NODE_COMPARE,   /* a, first …: each op and a */
    NODE_CONDITION, /* a if b else c; c may be NULL */
    /* statements */
    NODE_DATA,      /* name: the text */
    NODE_PRINT,     /* a */
    NODE_IF,        /* first …: NODE_BRANCH */
    NODE_BRANCH,    /* a (NULL: else), first …: body */
    NODE_FOR,       /* a: targets, b: iterable, c: condition or NULL, first: body, d: NODE_BRANCH */
    NODE_SET,       /* a: targets, b: value */
    NODE_SET_BLOCK, /* a: target, first: body */
    NODE_SCOPE,     /* first: body */
    NODE_BREAK,
    NODE_CONTINUE
} jinja_node_kind;

#define COMPARE_IN     1
#define COMPARE_NOT_IN 2

typedef struct jinja_node jinja_node;

struct jinja_node {
    jinja_node_kind kind;
    int line;
    int op;
    jinja_text name;
    jinja_value value;
    jinja_node *a, *b, *c, *d;
    jinja_node *first, *next; /* a list of children, and the place in one */
};

/* jinja_lexer.c: the tokens (free with free), with TOKEN_END last. Strings live in the arena or in
 * source, which lives in the arena too. */
int jinja_lex(vlmp_arena *arena, const char *source, size_t length, const char *where,
              jinja_token **tokens, vlmp_error *err);

/* jinja_parser.c */
typedef struct {
    vlmp_arena *arena;
    const jinja_token *tokens;
    size_t at;
    int depth;
    int loops; /* open for loops; break and continue need one */
    const char *where;
    vlmp_error *err;
} jinja_parser;

jinja_node *jinja_new_node(jinja_parser *p, jinja_node_kind kind, int line); /* NULL: err set */
int jinja_parse_fail(jinja_parser *p, const char *what, jinja_text detail);
bool jinja_skip_operator(jinja_parser *p, int op);
bool jinja_skip_name(jinja_parser *p, const char *name);
bool jinja_at_name(const jinja_parser *p, const char *name);
int jinja_expect_operator(jinja_parser *p, int op);
int jinja_enter(jinja_parser *p); /* bounds the depth; p->depth-- leaves */

int jinja_parse(jinja_parser *p, jinja_node **root);

/* jinja_expression.c */
int jinja_parse_expression(jinja_parser *p, jinja_node **out);
/* Also "a, b" without brackets. with_condition false: an "if" behind it is not taken. */
int jinja_parse_tuple(jinja_parser *p, bool with_condition, jinja_node **out);

/* Evaluation. */
typedef struct jinja_frame {
    jinja_dict names;
    struct jinja_frame *outer;
} jinja_frame;

typedef enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } jinja_flow;

typedef struct {
    vlmp_arena arena;
    size_t bytes; /* taken from the arena */
    size_t steps;
    int depth;
    jinja_frame *frame;
    jinja_flow flow;
    vlmp_buffer *out;
    const char *where;
    vlmp_error *err;
} jinja_context;

typedef struct {
    jinja_value positional[4];
    int count;
    jinja_text names[8];
    jinja_value named[8];
    int named_count;
} jinja_arguments;

__attribute__((format(printf, 3, 4))) int jinja_fail(jinja_context *c, const jinja_node *node,
                                                     const char *fmt, ...);
void *jinja_allocate(jinja_context *c, const jinja_node *node, size_t count, size_t size);

int jinja_evaluate(jinja_context *c, const jinja_node *node, jinja_value *out);
int jinja_execute(jinja_context *c, const jinja_node *first);

/* jinja_value.c */
jinja_value jinja_string(const char *text, size_t length);
jinja_value jinja_undefined(jinja_text name);
bool jinja_text_is(jinja_text text, const char *other);
bool jinja_same_text(jinja_text a, jinja_text b);
bool jinja_is_true(const jinja_value *value);
int jinja_equal(jinja_context *c, const jinja_node *node, const jinja_value *a,
                const jinja_value *b, bool *out);
const jinja_value *jinja_dict_find(const jinja_dict *dict, jinja_text key);
int jinja_dict_put(jinja_context *c, const jinja_node *node, jinja_dict *dict, jinja_text key,
                   jinja_value value);
/* As Python's str(); lists and dictionaries are an error. */
int jinja_to_text(jinja_context *c, const jinja_node *node, const jinja_value *value,
                  jinja_text *out);
int jinja_concatenate(jinja_context *c, const jinja_node *node, jinja_text a, jinja_text b,
                      jinja_value *out);
/* What a for loop walks over. */
int jinja_to_list(jinja_context *c, const jinja_node *node, const jinja_value *value,
                  jinja_list **out);
const char *jinja_kind_name(const jinja_value *value);
int jinja_list_new(jinja_context *c, const jinja_node *node, size_t count, jinja_list **out);
bool jinja_is_space(uint32_t c); /* str.isspace() */

/* jinja_access.c: a.b, a[b], a[b:c:d] */
int jinja_attribute(jinja_context *c, const jinja_node *node, const jinja_value *a, jinja_text name,
                    jinja_value *out);
int jinja_item(jinja_context *c, const jinja_node *node, const jinja_value *a, const jinja_value *b,
               jinja_value *out);
int jinja_slice(jinja_context *c, const jinja_node *node, const jinja_value *a,
                const jinja_value bounds[3], jinja_value *out);

/* jinja_operator.c */
int jinja_binary(jinja_context *c, const jinja_node *node, int op, const jinja_value *a,
                 const jinja_value *b, jinja_value *out);
int jinja_compare(jinja_context *c, const jinja_node *node, int op, const jinja_value *a,
                  const jinja_value *b, bool *out);

/* jinja_filter.c, jinja_test.c, jinja_call.c */
int jinja_filter(jinja_context *c, const jinja_node *node, jinja_text name,
                 const jinja_value *value, const jinja_arguments *arguments, jinja_value *out);
int jinja_test(jinja_context *c, const jinja_node *node, jinja_text name, const jinja_value *value,
               const jinja_arguments *arguments, bool *out);
int jinja_call(jinja_context *c, const jinja_node *node, jinja_text name,
               const jinja_arguments *arguments, jinja_value *out);
bool jinja_is_function(jinja_text name);
/* *found false: values of this kind have no such method. */
int jinja_method(jinja_context *c, const jinja_node *node, const jinja_value *receiver,
                 jinja_text name, const jinja_arguments *arguments, bool *found, jinja_value *out);
/* Text operations that filters and methods share. */
int jinja_change_case(jinja_context *c, const jinja_node *node, jinja_text text, char how,
                      jinja_value *out); /* how: 'u', 'l', 'c' */
jinja_text jinja_strip(jinja_text text, const jinja_text *characters, bool left, bool right);
int jinja_replace(jinja_context *c, const jinja_node *node, jinja_text text, jinja_text from,
                  jinja_text to, jinja_value *out);
int jinja_to_json(jinja_context *c, const jinja_node *node, const jinja_value *value,
                  jinja_value *out);
