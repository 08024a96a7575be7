/* What layouts that keep the source's tensor names and safetensors files share; internal to
 * formats/. */
#pragma once

#include "formats/export.h"

/* Adds a tensor to the list. */
int vlmp_export_append(vlmp_export *export, const vlmp_export_tensor *tensor, vlmp_error *err);

/* Adds the tensor BASE.suffix of a quantized linear, BASE its name in the source model, with the
 * type, shape, fate, fill and words of `made`, made from the part (VLMP_PACKED_PARTS, or a part
 * that the linear lacks: of sizes alone). */
int vlmp_export_add(vlmp_export *export, const vlmp_packed_linear *linear, const char *suffix,
                    const vlmp_export_tensor *made, vlmp_packed_part part, vlmp_error *err);

/* The same of codes or zeros in words. Zeros that the linear lacks are the grid's middle. */
int vlmp_export_add_words(vlmp_export *export, const vlmp_packed_linear *linear, const char *suffix,
                          const vlmp_word_layout *words, vlmp_packed_part part, vlmp_error *err);

/* The scales as F16 [groups][outputs]. F32 ones are rounded; VLMP_ERR_INPUT: one is beyond F16. */
int vlmp_export_add_turned_scales(vlmp_export *export, const vlmp_packed_linear *linear,
                                  const char *suffix, vlmp_error *err);

/* As vlmp_packed_linear_find, of export->linears. */
const vlmp_packed_linear *vlmp_export_linear_find(const vlmp_export *export, const char *name,
                                                  size_t length);

/* A pass over the packed file in order of computation: adds what is kept, and calls add_linear once
 * for each quantized linear. */
typedef int vlmp_export_add_linear(vlmp_export *export, const vlmp_packed_linear *linear,
                                   vlmp_error *err);
int vlmp_export_plan_tensors(vlmp_export *export, vlmp_export_add_linear *add_linear,
                             vlmp_error *err);

/* Appends the value of quantization_config. */
typedef int vlmp_export_put_config(const vlmp_export *export, vlmp_json_writer *w, vlmp_error *err);

/* config.json with quantization_config in it and otherwise as in the source; model.safetensors, or
 * shards and their index. alone: the name of a file that holds the same value; NULL: none does. */
int vlmp_export_write_safetensors(const vlmp_export *export, vlmp_outfolder *folder,
                                  vlmp_export_put_config *put_config, const char *alone,
                                  vlmp_export_progress *progress, void *arg, vlmp_error *err);

/* Regular expressions that match exactly the modules of some linears, whatever generation of
 * transformers or engine names them: vlmp_export_patterns gives them to `each`, one for the layers
 * of a component that have the same linears in the set. member: whether the linear is in the set;
 * linear is NULL for those that are kept. Matching begins at the name's start. */
typedef bool vlmp_export_member(void *arg, const vlmp_packed_linear *linear);
typedef void vlmp_export_each(void *arg, const char *pattern);
int vlmp_export_patterns(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                         vlmp_export_each *each, void *each_arg, vlmp_error *err);

/* The same modules as names for readers that look for them within a module's name, or at its end;
 * a component that is in the set as a whole is one name. Embedding tables are left out. */
int vlmp_export_names(const vlmp_export *export, vlmp_export_member *member, void *member_arg,
                      vlmp_export_each *each, void *each_arg, vlmp_error *err);

/* Members: linears of a scheme (arg: const vlmp_scheme), and what is kept. */
bool vlmp_export_has_scheme(void *arg, const vlmp_packed_linear *linear);
bool vlmp_export_is_kept(void *arg, const vlmp_packed_linear *linear);

/* Whether no linear before number i has its scheme. */
bool vlmp_export_scheme_is_new(const vlmp_export *export, size_t i);
