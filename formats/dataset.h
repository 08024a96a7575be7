/* Data sets: questions about pictures, with or without answers.
 *
 *   JSONL                 {"image": "a.png" | ["a.png", …], "prompt": "…", "answers": ["…", …]}
 *   LLaVA conversations   a JSON list (or JSONL) of {"image", "conversations": [{"from", "value"}]}
 *   COCO captions         {"images": [{"id", "file_name"}], "annotations": [{"image_id",
 *                         "caption"}]}, with an image root
 *   a folder              its pictures, by name
 *
 * A file named *.jsonl is JSONL; of other files the first character and the first value decide.
 * Blank lines of JSONL are nothing. Only the places of the records are held, 16 bytes each (COCO:
 * and 16 a caption): a sample is read when it is asked for. */
#pragma once

#include "src/base/error.h"
#include "src/store/sample.h"

#define VLMP_DEFAULT_PROMPT "Describe the picture."

typedef struct vlmp_dataset vlmp_dataset;

/* Finds the records. image_root: folder that picture paths are relative to; NULL: the folder of the
 * file. path and image_root must outlive the data set. VLMP_ERR_INPUT, with file and line or byte:
 * a file that is none of the above, or has no record; COCO without an image root is VLMP_ERR_USAGE.
 */
int vlmp_dataset_open(vlmp_dataset **out, const char *path, const char *image_root,
                      vlmp_error *err);
void vlmp_dataset_close(vlmp_dataset *dataset); /* NULL is allowed */

const char *vlmp_dataset_path(const vlmp_dataset *dataset); /* as given */

/* Records; a COCO caption that belongs to no picture, and a picture whose id came before, are
 * records that cannot be read. */
size_t vlmp_dataset_count(const vlmp_dataset *dataset);

/* Reads one record; free it with vlmp_sample_free. A bad one is VLMP_ERR_INPUT and names file and
 * line (or entry); out has then its line alone. Paths of pictures that are absolute, contain "..",
 * or leave the root through a link are refused; in a hub cache (…/datasets--ORG--NAME/snapshots/…)
 * links may lead into its blobs. A picture that does not exist is found when it is decoded. */
int vlmp_dataset_sample(const vlmp_dataset *dataset, size_t index, vlmp_sample *out,
                        vlmp_error *err);

/* VLMP_ERR_INPUT with what to do when a picture's name is a URL or a data URI. where goes in front
 * of the message. */
int vlmp_check_picture_name(const char *name, const char *where, vlmp_error *err);
