#include "src/flow/sequence.h"

#include <stdlib.h>

int vlmp_sequence_answer_tokens(const vlmp_sequence *sequence)
{
    int tokens = 0;
    for (int i = 0; i < sequence->answer_count; i++)
        tokens += sequence->answers[i].end - sequence->answers[i].from;
    return tokens;
}

/* Over all pictures, what each of their tiles counts. */
static size_t sum(const vlmp_sequence *sequence, const vlmp_config *config,
                  size_t (*count)(const vlmp_config *config, vlmp_patch_grid grid))
{
    size_t total = 0;
    for (int i = 0; i < sequence->image_count; i++) {
        const vlmp_image_plan *plan = &sequence->plans[i];
        total += (size_t)plan->tiles * count(config, vlmp_tile_grid(&config->vision, plan));
    }
    return total;
}

static size_t tower_rows(const vlmp_config *config, vlmp_patch_grid grid)
{
    return (size_t)vlmp_grid_tower_rows(&config->vision, grid);
}

static size_t picture_rows(const vlmp_config *config, vlmp_patch_grid grid)
{
    return (size_t)vlmp_grid_tokens(config, grid);
}

static size_t pixel_bytes(const vlmp_config *config, vlmp_patch_grid grid)
{
    return vlmp_grid_bytes(&config->vision, grid);
}

size_t vlmp_sequence_tower_rows(const vlmp_sequence *sequence, const vlmp_config *config)
{
    return sum(sequence, config, tower_rows);
}

size_t vlmp_sequence_picture_rows(const vlmp_sequence *sequence, const vlmp_config *config)
{
    return sum(sequence, config, picture_rows);
}

size_t vlmp_sequence_pixel_bytes(const vlmp_sequence *sequence, const vlmp_config *config)
{
    return sum(sequence, config, pixel_bytes);
}

vlmp_patch_grid vlmp_sequence_grid(const vlmp_sequence *sequence, const vlmp_config *config,
                                   int tile)
{
    const vlmp_image_plan *plan = sequence->plans;
    while (tile >= plan->tiles)
        tile -= plan++->tiles;
    return vlmp_tile_grid(&config->vision, plan);
}

int vlmp_sequence_positions(const vlmp_sequence *sequence, const vlmp_config *config,
                            int32_t *positions, size_t stride)
{
    const vlmp_vision_config *vision = &config->vision;
    int32_t *time = positions, *rows = positions + stride, *cols = positions + 2 * stride;
    int32_t next = 0, start = 0;
    int picture = 0, done = 0, size = 0,
        wide = 0; /* of the picture at hand: rows that have theirs */
    for (int r = 0; r < sequence->length; r++) {
        if (sequence->ids[r] != config->image_token) {
            time[r] = rows[r] = cols[r] = next++;
            continue;
        }
        if (done == size) {
            vlmp_patch_grid grid = vlmp_tile_grid(vision, &sequence->plans[picture++]);
            wide = grid.cols / vision->merge;
            size = grid.rows / vision->merge * wide;
            start = next;
            done = 0;
        }
        time[r] = start;
        rows[r] = start + done / wide;
        cols[r] = start + done % wide;
        if (++done == size) next = start + (size / wide > wide ? size / wide : wide);
    }
    return next - sequence->length;
}

void vlmp_sequence_free(vlmp_sequence *sequence)
{
    free(sequence->ids);
    free(sequence->answers);
    free(sequence->plans);
    free(sequence->pixels);
    *sequence = (vlmp_sequence){0};
}
