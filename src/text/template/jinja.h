/* Shared by the files of the template interpreter only: tokens, syntax tree, values. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "src/base/error.h"
#include "src/base/memory.h"

typedef struct {
    const char *text;
    size_t length;
} vlmp_jinja_text;

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
    TOKEN_FLOAT,
    TOKEN_OPERATOR
} vlmp_jinja_token_kind;

#define OPERATOR2(a, b) ((a) << 8 | (b))

typedef struct {
    vlmp_jinja_token_kind kind;
    int line;
    int op;               /* TOKEN_OPERATOR: the character, or OPERATOR2 */
    int64_t number;       /* TOKEN_INTEGER */
    double real;          /* TOKEN_FLOAT */
    vlmp_jinja_text text; /* TOKEN_DATA, NAME, STRING (escapes resolved) */
} vlmp_jinja_token;

typedef struct vlmp_jinja_value vlmp_jinja_value;

typedef enum {
    VALUE_UNDEFINED, /* text: the name that was looked for */
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_DICT,
    VALUE_NAMESPACE,
    VALUE_LOOP,
    VALUE_FUNCTION, /* text: its name */
    VALUE_MACRO
} vlmp_jinja_value_kind;

/* Which of Python's sequences a list stands for: they differ in what may be done with them. */
typedef enum {
    FORM_LIST,
    FORM_TUPLE,
    FORM_RANGE,
    FORM_VIEW,    /* keys(), values(), items(): no index */
    FORM_ITERATOR /* map, select …: no length, no index, true even when empty, used up by reading */
} vlmp_jinja_form;

typedef struct {
    vlmp_jinja_value *items;
    size_t count;
    vlmp_jinja_form form;
    bool group; /* a tuple of groupby: .grouper, .list */
} vlmp_jinja_list;

typedef struct {
    vlmp_jinja_text *keys;
    vlmp_jinja_value *values;
    size_t count, capacity;
} vlmp_jinja_dict;

typedef struct {
    const vlmp_jinja_list *list;
    size_t index;
    vlmp_jinja_list *changed; /* what loop.changed saw last; NULL: nothing */
} vlmp_jinja_loop;

typedef struct {
    const struct vlmp_jinja_node *node; /* NODE_MACRO */
    struct vlmp_jinja_frame *frame;     /* where it was defined */
} vlmp_jinja_macro;

struct vlmp_jinja_value {
    vlmp_jinja_value_kind kind;
    union {
        bool truth;
        int64_t number;
        double real;
        vlmp_jinja_text text;
        vlmp_jinja_list *list;
        vlmp_jinja_dict *dict; /* VALUE_DICT, VALUE_NAMESPACE */
        vlmp_jinja_loop *loop;
        const vlmp_jinja_macro *macro;
    };
};

typedef enum {
    /* expressions */
    NODE_CONSTANT,  /* value */
    NODE_NAME,      /* name */
    NODE_LIST,      /* first …; op 1: a tuple */
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
    NODE_CAPTURE,   /* first: statements whose output is the value */
    /* statements */
    NODE_DATA,         /* name: the text */
    NODE_PRINT,        /* a */
    NODE_FILTER_BLOCK, /* a: must give text */
    NODE_IF,           /* first …: NODE_BRANCH */
    NODE_BRANCH,       /* a (NULL: else), first …: body */
    NODE_FOR,       /* a: targets, b: iterable, c: condition or NULL, first: body, d: NODE_BRANCH */
    NODE_SET,       /* a: targets, b: value */
    NODE_SCOPE,     /* first: body */
    NODE_WITH,      /* a: NODE_SET …, whose values are of the scope outside; first: body */
    NODE_MACRO,     /* name; a: NODE_PARAMETER …; op: MACRO_…; first: body */
    NODE_PARAMETER, /* name; a: its default or NULL */
    NODE_CALL_BLOCK, /* a: the call; b: the macro that is its caller */
    NODE_BREAK,
    NODE_CONTINUE
} vlmp_jinja_node_kind;

#define COMPARE_IN     1
#define COMPARE_NOT_IN 2

/* Special names that a macro's body reads: only then are such arguments allowed. */
#define MACRO_CALLER  1
#define MACRO_VARARGS 2
#define MACRO_KWARGS  4

typedef struct vlmp_jinja_node vlmp_jinja_node;

struct vlmp_jinja_node {
    vlmp_jinja_node_kind kind;
    int line;
    int op;
    vlmp_jinja_text name;
    vlmp_jinja_value value;
    vlmp_jinja_node *a, *b, *c, *d;
    vlmp_jinja_node *first, *next; /* a list of children, and the place in one */
};

/* vlmp_jinja_lexer.c: the tokens (free with free), with TOKEN_END last. Strings live in the arena
 * or in source, which lives in the arena too. */
int vlmp_jinja_lex(vlmp_arena *arena, const char *source, size_t length, const char *where,
                   vlmp_jinja_token **tokens, vlmp_error *err);

/* vlmp_jinja_parser.c */
typedef struct {
    vlmp_arena *arena;
    const vlmp_jinja_token *tokens;
    size_t at;
    int depth;
    int loops;   /* open for loops; break and continue need one */
    int special; /* MACRO_…: names read so far */
    const char *where;
    vlmp_error *err;
} vlmp_jinja_parser;

vlmp_jinja_node *vlmp_jinja_new_node(vlmp_jinja_parser *p, vlmp_jinja_node_kind kind,
                                     int line); /* NULL: err set */
int vlmp_jinja_parse_fail(vlmp_jinja_parser *p, const char *what, vlmp_jinja_text detail);
bool vlmp_jinja_skip_operator(vlmp_jinja_parser *p, int op);
bool vlmp_jinja_skip_name(vlmp_jinja_parser *p, const char *name);
bool vlmp_jinja_at_name(const vlmp_jinja_parser *p, const char *name);
int vlmp_jinja_expect_operator(vlmp_jinja_parser *p, int op);
int vlmp_jinja_enter(vlmp_jinja_parser *p); /* bounds the depth; p->depth-- leaves */

int vlmp_jinja_parse(vlmp_jinja_parser *p, vlmp_jinja_node **root);

/* vlmp_jinja_expression.c */
int vlmp_jinja_parse_expression(vlmp_jinja_parser *p, vlmp_jinja_node **out);
/* Also "a, b" without brackets. with_condition false: an "if" behind it is not taken. */
int vlmp_jinja_parse_tuple(vlmp_jinja_parser *p, bool with_condition, vlmp_jinja_node **out);
/* A filter's name and arguments, put around *node. */
int vlmp_jinja_parse_filter(vlmp_jinja_parser *p, vlmp_jinja_node **node);

/* Evaluation. */
typedef struct vlmp_jinja_frame {
    vlmp_jinja_dict names;
    struct vlmp_jinja_frame *outer;
} vlmp_jinja_frame;

typedef enum { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE } vlmp_jinja_flow;

typedef struct {
    vlmp_arena arena;
    size_t bytes; /* taken from the arena */
    size_t steps;
    int depth;
    vlmp_jinja_frame *frame;
    vlmp_jinja_flow flow;
    const struct tm *date; /* what strftime_now shows; NULL: not given */
    vlmp_buffer *out;
    const char *where;
    vlmp_error *err;
} vlmp_jinja_context;

#define VLMP_JINJA_MAX_ARGUMENTS 10

typedef struct {
    vlmp_jinja_value positional[VLMP_JINJA_MAX_ARGUMENTS];
    int count;
    vlmp_jinja_text names[VLMP_JINJA_MAX_ARGUMENTS];
    vlmp_jinja_value named[VLMP_JINJA_MAX_ARGUMENTS];
    int named_count;
} vlmp_jinja_arguments;

/* The argument at this place or of this name; NULL when it is not given. */
const vlmp_jinja_value *vlmp_jinja_argument(const vlmp_jinja_arguments *arguments, int index,
                                            const char *name);

__attribute__((format(printf, 3, 4))) int
vlmp_jinja_fail(vlmp_jinja_context *c, const vlmp_jinja_node *node, const char *fmt, ...);
void *vlmp_jinja_allocate(vlmp_jinja_context *c, const vlmp_jinja_node *node, size_t count,
                          size_t size);

int vlmp_jinja_evaluate(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_value *out);
int vlmp_jinja_execute(vlmp_jinja_context *c, const vlmp_jinja_node *first);
/* The output of node's statements, run in a frame inside outer. */
int vlmp_jinja_capture(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_frame *outer,
                       vlmp_jinja_value *out);

/* vlmp_jinja_macro.c */
int vlmp_jinja_call_macro(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                          const vlmp_jinja_macro *macro, const vlmp_jinja_arguments *arguments,
                          vlmp_jinja_value *out);

/* vlmp_jinja_value.c */
vlmp_jinja_value vlmp_jinja_string(const char *text, size_t length);
vlmp_jinja_value vlmp_jinja_undefined(vlmp_jinja_text name);
bool vlmp_jinja_text_is(vlmp_jinja_text text, const char *other);
bool vlmp_jinja_same_text(vlmp_jinja_text a, vlmp_jinja_text b);
bool vlmp_jinja_is_true(const vlmp_jinja_value *value);
int vlmp_jinja_equal(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                     const vlmp_jinja_value *b, bool *out);
const vlmp_jinja_value *vlmp_jinja_dict_find(const vlmp_jinja_dict *dict, vlmp_jinja_text key);
int vlmp_jinja_dict_put(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_dict *dict,
                        vlmp_jinja_text key, vlmp_jinja_value value);
/* Also refuses names with an underscore in front, which the reference keeps for itself. */
int vlmp_jinja_namespace_put(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                             vlmp_jinja_dict *names, vlmp_jinja_text name, vlmp_jinja_value value);
/* As Python's str(); lists and dictionaries are an error. */
int vlmp_jinja_to_text(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, vlmp_jinja_text *out);
int vlmp_jinja_concatenate(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text a,
                           vlmp_jinja_text b, vlmp_jinja_value *out);
/* What a for loop walks over. */
int vlmp_jinja_to_list(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, vlmp_jinja_list **out);
const char *vlmp_jinja_kind_name(const vlmp_jinja_value *value);
int vlmp_jinja_list_new(vlmp_jinja_context *c, const vlmp_jinja_node *node, size_t count,
                        vlmp_jinja_list **out);
bool vlmp_jinja_is_space(uint32_t c); /* str.isspace() */

/* A new VALUE_LIST of this form. */
int vlmp_jinja_new_list(vlmp_jinja_context *c, const vlmp_jinja_node *node, size_t count,
                        vlmp_jinja_form form, vlmp_jinja_value *out);
bool vlmp_jinja_is_indexed(const vlmp_jinja_value *value); /* a[0] and a[1:] have a meaning */
/* The buffer's text as a value, if status is 0; frees the buffer and passes status on. */
int vlmp_jinja_from_buffer(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_buffer *buffer,
                           int status, vlmp_jinja_value *out);

/* vlmp_jinja_number.c: booleans count as 0 and 1. */
bool vlmp_jinja_is_number(const vlmp_jinja_value *value);
int64_t vlmp_jinja_integer_of(const vlmp_jinja_value *value); /* of a boolean or an integer */
double vlmp_jinja_real_of(const vlmp_jinja_value *value);     /* of any number */
vlmp_jinja_value vlmp_jinja_integer(int64_t number);
int vlmp_jinja_compare_numbers(const vlmp_jinja_value *a,
                               const vlmp_jinja_value *b); /* < 0, 0, > 0 */
int vlmp_jinja_arithmetic(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                          const vlmp_jinja_value *left, const vlmp_jinja_value *right,
                          vlmp_jinja_value *out);
int vlmp_jinja_float_text(vlmp_jinja_context *c, const vlmp_jinja_node *node, double real,
                          vlmp_jinja_text *out);
/* As int(text) and float(text); false: no number, or one that this code does not hold. */
bool vlmp_jinja_read_integer(vlmp_jinja_text text, int64_t *out);
bool vlmp_jinja_read_real(vlmp_jinja_text text, double *out);

/* vlmp_jinja_format.c: text % values (named: a dictionary, or NULL), and text.format(…). */
int vlmp_jinja_percent(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                       const vlmp_jinja_list *values, const vlmp_jinja_dict *named,
                       vlmp_jinja_value *out);
int vlmp_jinja_format(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                      const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out);

/* vlmp_jinja_access.c: a.b, a[b], a[b:c:d] */
int vlmp_jinja_attribute(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                         const vlmp_jinja_value *a, vlmp_jinja_text name, vlmp_jinja_value *out);
int vlmp_jinja_item(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                    const vlmp_jinja_value *b, vlmp_jinja_value *out);
int vlmp_jinja_slice(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                     const vlmp_jinja_value bounds[3], vlmp_jinja_value *out);

/* vlmp_jinja_operator.c */
int vlmp_jinja_binary(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                      const vlmp_jinja_value *a, const vlmp_jinja_value *b, vlmp_jinja_value *out);
int vlmp_jinja_compare(vlmp_jinja_context *c, const vlmp_jinja_node *node, int op,
                       const vlmp_jinja_value *a, const vlmp_jinja_value *b, bool *out);
/* Numbers, strings, and lists of them; others are an error. */
int vlmp_jinja_order(vlmp_jinja_context *c, const vlmp_jinja_node *node, const vlmp_jinja_value *a,
                     const vlmp_jinja_value *b, int *out);

/* vlmp_jinja_filter.c */
int vlmp_jinja_filter(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                      const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                      vlmp_jinja_value *out);

/* One entry of a table of filters; name NULL ends it. most: positional arguments that it takes;
 * named: the names that it takes. */
typedef int vlmp_jinja_filter_fn(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                                 const vlmp_jinja_value *value,
                                 const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out);
typedef struct {
    const char *name;
    vlmp_jinja_filter_fn *apply;
    int most;
    const char *named; /* "a b c" */
} vlmp_jinja_filter_entry;
extern const vlmp_jinja_filter_entry vlmp_jinja_list_filters[], vlmp_jinja_item_filters[],
    vlmp_jinja_text_filters[];

/* Arguments of filters and methods: out is left alone when the argument is not given. */
int vlmp_jinja_text_argument(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                             const vlmp_jinja_arguments *arguments, int index, const char *name,
                             vlmp_jinja_text *out);
int vlmp_jinja_integer_argument(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                                const vlmp_jinja_arguments *arguments, int index, const char *name,
                                int64_t *out);
bool vlmp_jinja_truth_argument(const vlmp_jinja_arguments *arguments, int index, const char *name);

/* vlmp_jinja_filter_item.c: value's attribute by a path such as "a.b.0"; lower: strings in lower
 * case. attribute NULL or none: the value itself. */
int vlmp_jinja_path(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                    const vlmp_jinja_value *value, const vlmp_jinja_value *attribute, bool lower,
                    vlmp_jinja_value *out);

/* vlmp_jinja_test.c, vlmp_jinja_call.c */
int vlmp_jinja_test(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                    const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                    bool *out);
int vlmp_jinja_call(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text name,
                    const vlmp_jinja_arguments *arguments, vlmp_jinja_value *out);
bool vlmp_jinja_is_function(vlmp_jinja_text name);

/* vlmp_jinja_method.c. *found false: values of this kind have no such method. */
int vlmp_jinja_method(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                      const vlmp_jinja_value *receiver, vlmp_jinja_text name,
                      const vlmp_jinja_arguments *arguments, bool *found, vlmp_jinja_value *out);
bool vlmp_jinja_has_method(const vlmp_jinja_value *receiver, vlmp_jinja_text name); /* in Python */
/* vlmp_jinja_split.c: split, rsplit, splitlines, partition, rpartition; *found as above. */
int vlmp_jinja_split(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                     vlmp_jinja_text name, const vlmp_jinja_arguments *arguments, bool *found,
                     vlmp_jinja_value *out);
/* The end of the line at `at`, and of its line end, as str.splitlines sees them. */
size_t vlmp_jinja_line_end(vlmp_jinja_text text, size_t at, size_t *next);

/* vlmp_jinja_text.c: operations that filters and methods share. */
int vlmp_jinja_change_case(
    vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text, char how,
    vlmp_jinja_value *out); /* how: 'u', 'l', 'c', 't' (title), 's' (swapped) */
bool vlmp_jinja_is_case(vlmp_jinja_text text, bool upper); /* isupper(), islower() */
vlmp_jinja_text vlmp_jinja_strip(vlmp_jinja_text text, const vlmp_jinja_text *characters, bool left,
                                 bool right);
/* most < 0: all */
int vlmp_jinja_replace(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                       vlmp_jinja_text from, vlmp_jinja_text to, int64_t most,
                       vlmp_jinja_value *out);
size_t vlmp_jinja_characters(vlmp_jinja_text text);
/* Fills up to width characters; left, right: characters of fill before and behind. */
int vlmp_jinja_pad(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text text,
                   size_t left, size_t right, vlmp_jinja_text fill, vlmp_jinja_value *out);

/* vlmp_jinja_json.c: tojson as transformers defines it. */
int vlmp_jinja_to_json(vlmp_jinja_context *c, const vlmp_jinja_node *node,
                       const vlmp_jinja_value *value, const vlmp_jinja_arguments *arguments,
                       vlmp_jinja_value *out);

/* vlmp_jinja_date.c */
int vlmp_jinja_date(vlmp_jinja_context *c, const vlmp_jinja_node *node, vlmp_jinja_text format,
                    vlmp_jinja_value *out);
