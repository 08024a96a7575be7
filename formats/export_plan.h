/* What layouts that keep the source's tensor names and safetensors files share; internal to
 * formats/. */
#pragma once

#include "formats/export.h"

/* Adds a tensor to the list. */
int vlmp_export_append(vlmp_export *export, const vlmp_export_tensor *tensor, vlmp_error *err);

/* Adds the tensor BASE.suffix of a quantized linear, BASE its name in the source model, made by
 * fill from the part (VLMP_PACKED_PARTS: of sizes alone). rank 2: rows × columns, rank 1: columns
 * alone. */
int vlmp_export_add(vlmp_export *export, const vlmp_packed_linear *linear, const char *suffix,
                    vlmp_dtype dtype, int rank, int64_t rows, int64_t columns,
                    vlmp_export_fate fate, vlmp_packed_part part, vlmp_export_fill *fill,
                    vlmp_error *err);

/* A pass over the packed file in order of computation: adds what is kept, and calls add_linear once
 * for each quantized linear. */
typedef int vlmp_export_add_linear(vlmp_export *export, const vlmp_packed_linear *linear,
                                   vlmp_error *err);
int vlmp_export_plan_tensors(vlmp_export *export, vlmp_export_add_linear *add_linear,
                             vlmp_error *err);

/* Appends the value of quantization_config. */
typedef int vlmp_export_put_config(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err);

/* config.json with quantization_config in it and otherwise as in the source; model.safetensors, or
 * shards and their index. */
int vlmp_export_write_safetensors(const vlmp_export *export, vlmp_outfolder *folder,
                                  vlmp_export_put_config *put_config,
                                  vlmp_export_progress *progress, void *arg, vlmp_error *err);

/* Regular expressions that match exactly the modules of some linears, whatever generation of
 * transformers or engine names them: vlmp_export_patterns gives them to `each`, one for the layers
 * of a component that have the same linears in the set. member: whether the linear is in the set;
 * linear is NULL for those that are kept. Matching begins at the name's start. */
typedef bool vlmp_export_member(void *arg, const vlmp_packed_linear *linear);
typedef void vlmp_export_each(void *arg, const char *pattern);
int vlmp_export_patterns(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                         vlmp_export_each *each, void *each_arg, vlmp_error *err);
