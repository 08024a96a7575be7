/* The command that serves an exported folder, as words: the one place that knows an engine's
 * options, for the model card and for what is emitted. */
#pragma once

#include "formats/export.h"

#define VLMP_SERVE_WORDS 16

/* Words of a command; they are of the arena or constant. Start with {0}. */
typedef struct {
    const char *items[VLMP_SERVE_WORDS];
    size_t count;
    vlmp_arena arena;
    bool failed; /* memory was short */
} vlmp_serve_words;

/* folder: where the engine finds the export. Free with vlmp_serve_words_free. */
void vlmp_serve_command(vlmp_serve_words *words, const vlmp_export *export, const char *folder);
void vlmp_serve_words_free(vlmp_serve_words *words);

/* The command as one line for a shell. Shortage of memory sets out->failed. */
void vlmp_serve_line(vlmp_buffer *out, const vlmp_export *export, const char *folder);

/* Rows of the prompt that a picture takes at most; 0: not known, as of models that are not run. */
int vlmp_serve_picture_tokens(const vlmp_export *export);

/* The context that the command asks for; 0: not known. */
int vlmp_serve_context(const vlmp_export *export);
