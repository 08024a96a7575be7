/* Data sets: questions about pictures, with or without answers.
 *
 *   JSONL                 {"image": "a.png" | ["a.png", …], "prompt": "…", "answers": ["…", …]}
 *   LLaVA conversations   a JSON list (or JSONL) of {"image", "conversations": [{"from", "value"}]}
 *   COCO captions         {"images": [{"id", "file_name"}], "annotations": [{"image_id",
 *                         "caption"}]}, with an image root
 *   a folder              its pictures, by name
 *
 * A file named *.jsonl is JSONL; of other files the first character and the first line decide. */
#pragma once

#include "src/base/error.h"
#include "src/model/sample.h"

#define VLMP_DEFAULT_PROMPT "Describe the picture."

/* Reads all samples. image_root: folder that picture paths are relative to; NULL: the folder of the
 * file. Paths that are absolute, contain "..", or leave that folder through a link are refused; a
 * picture that does not exist is found when it is decoded. A sample's line is its line in JSONL
 * and its entry's number (from 1) in the other files. path must outlive out.
 * Bad data is VLMP_ERR_INPUT and names file and line; COCO without an image root is
 * VLMP_ERR_USAGE. On failure nothing is left to free. */
int vlmp_dataset_read(vlmp_dataset *out, const char *path, const char *image_root, vlmp_error *err);

/* Harmless on {0} and after a failure. */
void vlmp_dataset_free(vlmp_dataset *dataset);
