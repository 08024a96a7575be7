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
    TOKEN_FLOAT,
    TOKEN_OPERATOR
} jinja_token_kind;

#define OPERATOR2(a, b) ((a) << 8 | (b))

typedef struct {
    jinja_token_kind kind;
    int line;
    int op;          /* TOKEN_OPERATOR: the character, or OPERATOR2 */
    int64_t number;  /* TOKEN_INTEGER */
    double real;     /* TOKEN_FLOAT */
    jinja_text text; /* TOKEN_DATA, NAME, STRING (escapes resolved) */
} jinja_token;

typedef struct jinja_value jinja_value;

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
} jinja_value_kind;

/* Which of Python's sequences a list stands for: they differ in what may be done with them. */
typedef enum {
    FORM_LIST,
    FORM_TUPLE,
    FORM_RANGE,
    FORM_VIEW,    /* keys(), values(), items(): no index */
    FORM_ITERATOR /* map, select …: no length, no index, true even when empty, used up by reading */
} jinja_form;

typedef struct {
    jinja_value *items;
    size_t count;
    jinja_form form;
    bool group; /* a tuple of groupby: .grouper, .list */
} jinja_list;

typedef struct {
    jinja_text *keys;
    jinja_value *values;
    size_t count, capacity;
} jinja_dict;

typedef struct {
    const jinja_list *list;
    size_t index;
    jinja_list *changed; /* what loop.changed saw last; NULL: nothing */
} jinja_loop;

typedef struct {
    const struct jinja_node *node; /* NODE_MACRO */
    struct jinja_frame *frame;     /* where it was defined */
} jinja_macro;

struct jinja_value {
    jinja_value_kind kind;
    union {
        bool truth;
        int64_t number;
        double real;
        jinja_text text;
        jinja_list *list;
        jinja_dict *dict; /* VALUE_DICT, VALUE_NAMESPACE */
        jinja_loop *loop;
        const jinja_macro *macro;
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
    NODE_DATA,      /* name: the text */
    NODE_PRINT,     /* a */
    NODE_IF,        /* first …: NODE_BRANCH */
    NODE_BRANCH,    /* a (NULL: else), first …: body */
    NODE_FOR,       /* a: targets, b: iterable, c: condition or NULL, first: body, d: NODE_BRANCH */
    NODE_SET,       /* a: targets, b: value */
    NODE_SCOPE,     /* first: body */
    NODE_WITH,      /* a: NODE_SET …, whose values are of the scope outside; first: body */
    NODE_MACRO,     /* name; a: NODE_PARAMETER …; op: MACRO_…; first: body */
    NODE_PARAMETER, /* name; a: its default or NULL */
    NODE_CALL_BLOCK, /* a: the call; b: the macro that is its caller */
    NODE_BREAK,
    NODE_CONTINUE
} jinja_node_kind;

#define COMPARE_IN     1
#define COMPARE_NOT_IN 2

/* Special names that a macro's body reads: only then are such arguments allowed. */
#define MACRO_CALLER  1
#define MACRO_VARARGS 2
#define MACRO_KWARGS  4

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
    int loops;   /* open for loops; break and continue need one */
    int special; /* MACRO_…: names read so far */
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
/* A filter's name and arguments, put around *node. */
int jinja_parse_filter(jinja_parser *p, jinja_node **node);

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
    const struct tm *date; /* what strftime_now shows; NULL: not given */
    vlmp_buffer *out;
    const char *where;
    vlmp_error *err;
} jinja_context;

#define JINJA_MAX_ARGUMENTS 10

typedef struct {
    jinja_value positional[JINJA_MAX_ARGUMENTS];
    int count;
    jinja_text names[JINJA_MAX_ARGUMENTS];
    jinja_value named[JINJA_MAX_ARGUMENTS];
    int named_count;
} jinja_arguments;

/* The argument at this place or of this name; NULL when it is not given. */
const jinja_value *jinja_argument(const jinja_arguments *arguments, int index, const char *name);

__attribute__((format(printf, 3, 4))) int jinja_fail(jinja_context *c, const jinja_node *node,
                                                     const char *fmt, ...);
void *jinja_allocate(jinja_context *c, const jinja_node *node, size_t count, size_t size);

int jinja_evaluate(jinja_context *c, const jinja_node *node, jinja_value *out);
int jinja_execute(jinja_context *c, const jinja_node *first);
/* The output of node's statements, run in a frame inside outer. */
int jinja_capture(jinja_context *c, const jinja_node *node, jinja_frame *outer, jinja_value *out);

/* jinja_macro.c */
int jinja_call_macro(jinja_context *c, const jinja_node *node, const jinja_macro *macro,
                     const jinja_arguments *arguments, jinja_value *out);

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

/* A new VALUE_LIST of this form. */
int jinja_new_list(jinja_context *c, const jinja_node *node, size_t count, jinja_form form,
                   jinja_value *out);
bool jinja_is_indexed(const jinja_value *value); /* a[0] and a[1:] have a meaning */
/* The buffer's text as a value, if status is 0; frees the buffer and passes status on. */
int jinja_from_buffer(jinja_context *c, const jinja_node *node, vlmp_buffer *buffer, int status,
                      jinja_value *out);

/* jinja_number.c: booleans count as 0 and 1. */
bool jinja_is_number(const jinja_value *value);
int64_t jinja_integer_of(const jinja_value *value); /* of a boolean or an integer */
double jinja_real_of(const jinja_value *value);     /* of any number */
jinja_value jinja_integer(int64_t number);
int jinja_compare_numbers(const jinja_value *a, const jinja_value *b); /* < 0, 0, > 0 */
int jinja_arithmetic(jinja_context *c, const jinja_node *node, int op, const jinja_value *left,
                     const jinja_value *right, jinja_value *out);
int jinja_float_text(jinja_context *c, const jinja_node *node, double real, jinja_text *out);
/* As int(text) and float(text); false: no number, or one that this code does not hold. */
bool jinja_read_integer(jinja_text text, int64_t *out);
bool jinja_read_real(jinja_text text, double *out);

/* jinja_format.c: text % values (named: a dictionary, or NULL), and text.format(…). */
int jinja_percent(jinja_context *c, const jinja_node *node, jinja_text text,
                  const jinja_list *values, const jinja_dict *named, jinja_value *out);
int jinja_format(jinja_context *c, const jinja_node *node, jinja_text text,
                 const jinja_arguments *arguments, jinja_value *out);

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
/* Numbers, strings, and lists of them; others are an error. */
int jinja_order(jinja_context *c, const jinja_node *node, const jinja_value *a,
                const jinja_value *b, int *out);

/* jinja_filter.c */
int jinja_filter(jinja_context *c, const jinja_node *node, jinja_text name,
                 const jinja_value *value, const jinja_arguments *arguments, jinja_value *out);

/* One entry of a table of filters; name NULL ends it. most: positional arguments that it takes;
 * named: the names that it takes. */
typedef int jinja_filter_fn(jinja_context *c, const jinja_node *node, const jinja_value *value,
                            const jinja_arguments *arguments, jinja_value *out);
typedef struct {
    const char *name;
    jinja_filter_fn *apply;
    int most;
    const char *named; /* "a b c" */
} jinja_filter_entry;
extern const jinja_filter_entry jinja_list_filters[], jinja_item_filters[], jinja_text_filters[];

/* Arguments of filters and methods: out is left alone when the argument is not given. */
int jinja_text_argument(jinja_context *c, const jinja_node *node, const jinja_arguments *arguments,
                        int index, const char *name, jinja_text *out);
int jinja_integer_argument(jinja_context *c, const jinja_node *node,
                           const jinja_arguments *arguments, int index, const char *name,
                           int64_t *out);
bool jinja_truth_argument(const jinja_arguments *arguments, int index, const char *name);

/* jinja_filter_item.c: value's attribute by a path such as "a.b.0"; lower: strings in lower case.
 * attribute NULL or none: the value itself. */
int jinja_path(jinja_context *c, const jinja_node *node, const jinja_value *value,
               const jinja_value *attribute, bool lower, jinja_value *out);

/* jinja_test.c, jinja_call.c */
int jinja_test(jinja_context *c, const jinja_node *node, jinja_text name, const jinja_value *value,
               const jinja_arguments *arguments, bool *out);
int jinja_call(jinja_context *c, const jinja_node *node, jinja_text name,
               const jinja_arguments *arguments, jinja_value *out);
bool jinja_is_function(jinja_text name);

/* jinja_method.c. *found false: values of this kind have no such method. */
int jinja_method(jinja_context *c, const jinja_node *node, const jinja_value *receiver,
                 jinja_text name, const jinja_arguments *arguments, bool *found, jinja_value *out);
bool jinja_has_method(const jinja_value *receiver, jinja_text name); /* in Python */
/* jinja_split.c: split, rsplit, splitlines, partition, rpartition; *found as above. */
int jinja_split(jinja_context *c, const jinja_node *node, jinja_text text, jinja_text name,
                const jinja_arguments *arguments, bool *found, jinja_value *out);
/* The end of the line at `at`, and of its line end, as str.splitlines sees them. */
size_t jinja_line_end(jinja_text text, size_t at, size_t *next);

/* jinja_text.c: operations that filters and methods share. */
int jinja_change_case(jinja_context *c, const jinja_node *node, jinja_text text, char how,
                      jinja_value *out); /* how: 'u', 'l', 'c', 't' (title), 's' (swapped) */
bool jinja_is_case(jinja_text text, bool upper); /* isupper(), islower() */
jinja_text jinja_strip(jinja_text text, const jinja_text *characters, bool left, bool right);
/* most < 0: all */
int jinja_replace(jinja_context *c, const jinja_node *node, jinja_text text, jinja_text from,
                  jinja_text to, int64_t most, jinja_value *out);
size_t jinja_characters(jinja_text text);
/* Fills up to width characters; left, right: characters of fill before and behind. */
int jinja_pad(jinja_context *c, const jinja_node *node, jinja_text text, size_t left, size_t right,
              jinja_text fill, jinja_value *out);

/* jinja_json.c: tojson as transformers defines it. */
int jinja_to_json(jinja_context *c, const jinja_node *node, const jinja_value *value,
                  const jinja_arguments *arguments, jinja_value *out);

/* jinja_date.c */
int jinja_date(jinja_context *c, const jinja_node *node, jinja_text format, jinja_value *out);
