/* The word tokenization of the COCO caption scorer: Penn Treebank rules as its Stanford tokenizer
 * applies them to lower-cased text, then punctuation tokens removed. The rules were found by
 * reading that tokenizer's grammar and by observing it; the code is our own
 * (scripts/golden-captions.py compares).
 *
 * One thing can't be equal: the scorer feeds all captions in one file, so that whether a single
 * letter at the end ("vitamin C.") keeps its period depends on the caption that happens to follow.
 * Here every caption stands alone. */
#pragma once

#include <stddef.h>

#include "src/base/memory.h"

/* Appends the words of text (UTF-8, one caption; line ends count as spaces), separated by one
 * space. Check out->failed. */
void vlmp_ptb_tokenize(vlmp_buffer *out, const char *text, size_t length);
