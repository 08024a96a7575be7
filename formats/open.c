#include "formats/open.h"

#include <limits.h>
#include <string.h>

#include "formats/hf_folder.h"
#include "formats/hub.h"
#include "formats/packed.h"
#include "src/base/file.h"

int vlmp_model_source_open(vlmp_source **out, const char *model, vlmp_error *err)
{
    *out = NULL;
    vlmp_path_kind kind;
    VLMP_TRY(vlmp_path_look(&kind, model, err));
    if (kind == VLMP_PATH_FOLDER) return vlmp_folder_open(out, model, err);
    if (kind == VLMP_PATH_FILE) return vlmp_packed_open(out, model, err);
    if (!vlmp_is_hub_id(model))
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: no such model folder or packed file; check the path", model);
    char folder[PATH_MAX];
    VLMP_TRY(vlmp_hub_find(folder, sizeof folder, model, err));
    return vlmp_folder_open(out, folder, err);
}
