/* A folder that appears complete or not at all: files are written into one of a temporary name
 * beside the target, which commit renames. It is flat: regular files alone. */
#pragma once

#include <dirent.h>
#include <stdbool.h>

#include "src/base/error.h"
#include "src/base/outfile.h"

/* Names the files of a finished folder and their hashes, as sha256sum does. With force a folder is
 * replaced when it has this list and nothing that is not in it: nobody's own files are lost. */
#define VLMP_FOLDER_SUMS "SHA256SUMS"

typedef struct {
    char path[4096];
    char temporary[4096 + sizeof VLMP_PART_SUFFIX]; /* files go here */
    DIR *dir; /* temporary, locked; open all the time, so that removing needs no memory */
    bool force;
} vlmp_outfolder;

/* Whether a folder may be made there. Something that is there already is VLMP_ERR_USAGE, unless
 * force and it may be replaced (see above); where the folder around it is missing, read-only or
 * full, VLMP_ERR_SYSTEM. */
int vlmp_outfolder_check(const char *path, bool force, vlmp_error *err);

/* The same checks; then a temporary folder that another process writes is VLMP_ERR_SYSTEM, and one
 * that a killed process left is taken over. On failure nothing is left to abort. */
int vlmp_outfolder_open(vlmp_outfolder *folder, const char *path, bool force, vlmp_error *err);

/* temporary + "/" + name. The name has no slash; a path that is too long is VLMP_ERR_USAGE. */
int vlmp_outfolder_path(char out[4096], const vlmp_outfolder *folder, const char *name,
                        vlmp_error *err);

/* Writes the list of hashes, then renames. */
int vlmp_outfolder_commit(vlmp_outfolder *folder, vlmp_error *err);
void vlmp_outfolder_abort(vlmp_outfolder *folder); /* removes; harmless after commit */
