/* Original LLaVA folders: conversations of two turns are spelt as LLaVA's conversation.py spells
 * them. The texts follow its get_prompt() by hand: of the style TWO, LLAMA_2, MPT, CHATML and
 * LLAMA_3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "formats/original.h"
#include "src/text/template/chat_template.h"

#define VICUNA                                                                                     \
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives " \
    "helpful, detailed, and polite answers to the user's questions."

static const struct {
    const char *text, *token; /* the text model's type, a token of its tokenizer */
    const char *wanted;       /* a question, its answer, another question */
    const char *next;         /* what invites the answer */
} conversations[] = {
    {"llama", "a", VICUNA " USER: <image>\nWhat? ASSISTANT: Red.</s>USER: Why? ", "ASSISTANT:"},
    {"mistral", "a", "[INST] <image>\nWhat? [/INST] Red. </s>[INST] Why? [/INST]", ""},
    {"llama", "<|im_start|>",
     "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nWhat?<|im_end|>"
     "<|im_start|>assistant\nRed.<|im_end|><|im_start|>user\nWhy?<|im_end|>",
     "<|im_start|>assistant\n"},
    {"qwen2", "<|im_start|>",
     "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<image>\nWhat?"
     "<|im_end|>\n<|im_start|>assistant\nRed.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n",
     "<|im_start|>assistant\n"},
    {"llama", "<|start_header_id|>",
     "<s><|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and vision "
     "assistant. You are able to understand the visual content that the user provides, and assist "
     "the user with a variety of tasks using natural language.<|eot_id|><|start_header_id|>user"
     "<|end_header_id|>\n\n<image>\nWhat?<|eot_id|><|start_header_id|>assistant<|end_header_id|>"
     "\n\nRed.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>",
     "<|start_header_id|>assistant<|end_header_id|>\n\n"},
};

/* The template of a folder with such a tokenizer. */
static const vlmp_source_file *template_of(vlmp_source_files *files, vlmp_arena *arena,
                                           const char *text, const char *token)
{
    static char tokenizer[128];
    vlmp_error err = {0};
    int image;
    snprintf(tokenizer, sizeof tokenizer, "{\"model\": {\"vocab\": {\"%s\": 0, \"<image>\": 1}}}",
             token);
    assert_int_equal(
        vlmp_source_files_put(files, "tokenizer.json", tokenizer, strlen(tokenizer), &err), 0);
    if (vlmp_original_prompts(&image, files, NULL, text, "folder", arena, &err) != VLMP_OK)
        fail_msg("%s", err.message);
    assert_int_equal(image, 1);
    return vlmp_source_files_find(files, "chat_template.jinja");
}

static void conversations_are_spelt_as_theirs(void **state)
{
    (void)state;
    static const char *const first[] = {VLMP_CHAT_PICTURE, "What?"}, *const answer[] = {"Red."},
                             *const second[] = {"Why?"};
    static const vlmp_chat_message turns[] = {
        {"user", first, 2}, {"assistant", answer, 1}, {"user", second, 1}};
    static const vlmp_chat_variable variables[] = {{"bos_token", "<s>"}, {"eos_token", "</s>"}};
    for (size_t i = 0; i < sizeof conversations / sizeof *conversations; i++) {
        vlmp_source_files files = {0};
        vlmp_arena arena = {0};
        vlmp_error err = {0};
        vlmp_chat_template *chat;
        const vlmp_source_file *file =
            template_of(&files, &arena, conversations[i].text, conversations[i].token);
        assert_int_equal(
            vlmp_chat_template_create(&chat, file->data, file->length, file->name, &err), 0);
        for (int generate = 0; generate < 2; generate++) {
            vlmp_buffer out = {0};
            const vlmp_chat conversation = {turns, 3, generate == 1, variables, 2, NULL};
            char wanted[1024];
            snprintf(wanted, sizeof wanted, "%s%s", conversations[i].wanted,
                     generate == 1 ? conversations[i].next : "");
            if (vlmp_chat_template_render(chat, &conversation, &out, &err) != VLMP_OK)
                fail_msg("%s", err.message);
            assert_string_equal(out.data, wanted);
            vlmp_buffer_free(&out);
        }
        vlmp_chat_template_free(chat);
        vlmp_source_files_close(&files);
        vlmp_arena_free(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations_are_spelt_as_theirs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
