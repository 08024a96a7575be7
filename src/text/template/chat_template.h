/* Chat templates: an interpreter for the part of Jinja that templates of vision-language models
 * use, with the settings of transformers (trim_blocks, lstrip_blocks, loop controls).
 *   statements   for (with if, else, unpacking), if/elif/else, set (also of a namespace's attribute
 *                and as a block, with filters), macro, call, filter, with, raw, break, continue;
 *                generation tags are ignored
 *   expressions  literals, lists, tuples, dictionaries, a.b, a['b'], slices, calls, + - * / // % **
 *                ~, comparisons, in, and/or/not, x if c else y; integers of 64 bits, floats
 *   functions    raise_exception, namespace, range, dict, strftime_now; loop.cycle, loop.changed
 *   filters      abs batch capitalize center count d default dictsort first float format groupby
 *                indent int items join last length list lower map max min reject rejectattr replace
 *                reverse round safe (at the end) select selectattr slice sort string sum title
 *                tojson trim truncate unique upper wordcount
 *   tests        boolean callable defined divisibleby escaped even false float in integer iterable
 *                lower mapping none number odd sameas sequence string true undefined upper, and
 *                comparisons by name and sign
 *   methods      of strings (all but casefold, encode, expandtabs, format_map, isalnum,
 *                isidentifier, isprintable, istitle, maketrans, swapcase, translate), get, items,
 *                keys, values; count and index of lists
 * Anything else is VLMP_ERR_INPUT with its name and line; so are letters that become several when
 * their case changes (ß). Iterators (of map, select …) are read once and have no length, as in
 * Python. Where a template prints a list or a dictionary (text-only templates that take a
 * message's content for a string), transformers prints Python's notation of it; here it is an
 * error. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "src/base/error.h"
#include "src/base/memory.h"
#include "src/store/message.h"

#define VLMP_CHAT_TEMPLATE_MAX_BYTES ((size_t)1 << 20)

typedef struct vlmp_chat_template vlmp_chat_template;

/* where: the file, for messages. text may be freed afterwards. */
int vlmp_chat_template_create(vlmp_chat_template **out, const char *text, size_t length,
                              const char *where, vlmp_error *err);
void vlmp_chat_template_free(vlmp_chat_template *chat); /* NULL is allowed */

/* A string that the template may use: "bos_token", "eos_token" … */
typedef struct {
    const char *name, *text;
} vlmp_chat_variable;

typedef struct {
    const vlmp_chat_message *messages;
    size_t message_count;
    bool add_generation_prompt;
    const vlmp_chat_variable *variables;
    size_t variable_count;
    const struct tm *date; /* what strftime_now shows; NULL: a template that asks is refused */
} vlmp_chat;

/* Appends the rendered text to out. Bounded in steps, depth and memory. May run in several threads
 * at once. */
int vlmp_chat_template_render(const vlmp_chat_template *chat_template, const vlmp_chat *chat,
                              vlmp_buffer *out, vlmp_error *err);
