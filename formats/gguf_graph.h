/* What llama.cpp's graphs of towers and projectors have fixed (tools/mtmd/models): a model that has
 * something else would be computed as another, whoever wrote its files. */
#pragma once

#include "src/model/config.h"

/* VLMP_ERR_INPUT, with the reason: no graph fits. The family has a projector of llama.cpp's. */
int vlmp_gguf_check_graph(const vlmp_config *config, vlmp_error *err);

/* Layers that see all of a picture come every so many; 0: all do. −1: there is no such number. */
int vlmp_gguf_whole_every(const vlmp_vision_config *vision);
