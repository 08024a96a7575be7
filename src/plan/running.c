#include "src/plan/running.h"

#include <math.h>

#include "src/plan/formulas.h"

double vlmp_workload_prompt(const vlmp_workload *load)
{
    return load->text + (load->picture.width > 0 ? load->picture.tokens : 0);
}

double vlmp_row_kv_bytes(const vlmp_text_config *text, bool stored)
{
    double scales = stored ? vlmp_kv_bytes(text->layers, text->kv_heads, 1, 1, sizeof(float)) : 0;
    return vlmp_kv_bytes(text->layers, text->kv_heads, text->head_dim, 1, 2) + scales;
}

double vlmp_workload_kv(const vlmp_text_config *text, const vlmp_workload *load)
{
    double rows = vlmp_workload_prompt(load) + load->new_tokens;
    rows = ceil(rows / VLMP_PLAN_PAGE) * VLMP_PLAN_PAGE;
    return load->batch * vlmp_kv_bytes(text->layers, text->kv_heads, text->head_dim, rows, 2);
}

double vlmp_pass_row_values(const vlmp_block_shape *shape)
{
    double q = (double)shape->heads * shape->head_dim;
    double kv = (double)shape->kv_heads * shape->head_dim, inner = shape->intermediate;
    double fused = shape->fused_qkv && q + 2 * kv > inner ? q + 2 * kv : inner;
    double values = 2.0 * shape->dim + 2 * q + 2 * kv + fused;
    if (shape->gated) values += inner;
    return shape->qk_norm ? values + q : values;
}

/* The tower runs picture by picture, in passes of whole tiles; all of its rows lie between two
 * layers, and those that its projector sees behind them. */
static double tower_values(const vlmp_model *model, const vlmp_picture_cost *picture)
{
    const vlmp_block_shape *shape = &model->vision.shape;
    double rows = VLMP_PLAN_STEP - 1 + picture->tile_rows;
    if (picture->width == 0) return 0;
    if (rows > picture->tower_rows) rows = picture->tower_rows;
    double keys = 2.0 * shape->kv_heads * shape->head_dim;
    double features = (double)vlmp_feature_width(&model->config) * picture->tokens;
    return rows * (vlmp_pass_row_values(shape) + keys) + (double)picture->tower_rows * shape->dim +
           features;
}

double vlmp_workload_work(const vlmp_model *model, const vlmp_workload *load)
{
    const vlmp_text_config *text = &model->config.text;
    double rows = load->batch > VLMP_PLAN_STEP ? load->batch : VLMP_PLAN_STEP;
    double values = rows * vlmp_pass_row_values(&model->text.shape);
    values += load->batch * ((double)text->vocab + text->hidden);
    values += load->batch * vlmp_workload_prompt(load) * text->hidden;
    values += tower_values(model, &load->picture);
    double scores =
        vlmp_score_bytes(load->batch, text->heads, VLMP_PLAN_TILE_ROWS, VLMP_PLAN_TILE_KEYS, 4);
    return values * sizeof(float) + scores;
}

double vlmp_largest_batch(const vlmp_model *model, const vlmp_workload *load, double bytes)
{
    double low = 0, high = 1 << 20;
    while (low < high) {
        vlmp_workload many = *load;
        many.batch = ceil((low + high) / 2);
        double needed =
            vlmp_workload_kv(&model->config.text, &many) + vlmp_workload_work(model, &many);
        if (needed <= bytes)
            low = many.batch;
        else
            high = many.batch - 1;
    }
    return low;
}
