/* Whatever a user names as a model. */
#pragma once

#include "src/base/error.h"
#include "src/store/source.h"

/* A model folder, also one that another tool has quantized, a packed file, or ORG/NAME[@REVISION]
 * in the local hub cache (then the source's path is the snapshot folder, whose last part is the
 * commit). */
int vlmp_model_source_open(vlmp_source **out, const char *model, vlmp_error *err);

/* The same for who reads sizes alone: model may be a config.json too, or a folder as
 * vlmp_folder_open_headers reads it. Not one that another tool has quantized. */
int vlmp_model_source_open_headers(vlmp_source **out, const char *model, vlmp_error *err);

/* Keeps what it has laid out anew of other tools' files, so that opening a model again costs
 * nothing, and opens GGUF files where its user offers what they need. Free at the end. */
typedef struct {
    bool gguf;
    const char *base;   /* model folder or hub name with what GGUF files lack; NULL: theirs */
    const char *spare;  /* another, where their folder has no config.json; NULL: none */
    const char *mmproj; /* the file of tower and projector; NULL: the one beside the text model */
    struct vlmp_kept {
        const char *model; /* as it was named */
        vlmp_source *source;
    } * kept;
    size_t kept_count;
} vlmp_opener;

/* VLMP_ERR_USAGE: a base or a tower's file is given, but none of the models is a GGUF one. */
int vlmp_opener_check(const vlmp_opener *opener, const char **models, size_t count,
                      vlmp_error *err);

int vlmp_opener_open(vlmp_opener *opener, vlmp_source **out, const char *model, vlmp_error *err);

/* Closes a source of the opener, or keeps it for the next time without its pages in memory. */
void vlmp_opener_close(const vlmp_opener *opener, vlmp_source *source);
void vlmp_opener_free(vlmp_opener *opener);
