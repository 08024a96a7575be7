/* The scanner of safetensors headers; internal to formats/. */
#pragma once

#include "formats/safetensors.h"

/* Reads the JSON header text [length], which begins at byte 8 of the file, into file->tensors (in
 * header order), file->count, file->pairs and file->pair_count. Checks syntax, types and limits;
 * offsets and duplicates are the caller's. Memory: the arena, and file->tensors and file->pairs
 * from malloc, also on failure. */
int vlmp_st_scan_header(vlmp_safetensors *file, const char *text, size_t length, vlmp_error *err);
