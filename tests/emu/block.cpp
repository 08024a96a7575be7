/* Threads of a grid as fibers: who runs next, and where they meet. */
#include "tests/emu/internal.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>

namespace emu {

thread *running;
const position *here;
vlmp_emu_counts counts;

namespace {

constexpr size_t GUARD = 4096, SLOT = STACK_BYTES + GUARD;
constexpr unsigned long PATIENCE = 4000000; /* turns in which everybody only waits */

uint64_t random_state;
bool keep_faults, has_fault;
std::string fault_text;

const launch_config *launching;
void (*thread_call)(const void *);
const void *thread_arguments;
void *scheduler_stack;
std::vector<thread *> ready;
std::vector<thread> threads;
unsigned long idle_turns;

void set_seed(uint64_t seed)
{
    random_state = seed * 0x9e3779b97f4a7c15u ^ 0x2545f4914f6cdd1du;
    if (random_state == 0) random_state = 1;
}

uint64_t random_next()
{
    if (random_state == 0) {
        const char *seed = getenv("VLMP_EMU_SEED");
        set_seed(seed != nullptr ? strtoull(seed, nullptr, 10) : 1);
    }
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

unsigned random_below(size_t n)
{
    return static_cast<unsigned>((random_next() >> 20) % n);
}

unsigned char *stack_of(unsigned index)
{
    static unsigned char *all;
    static unsigned made;
    if (all == nullptr) {
        void *at = mmap(nullptr, SLOT * MAX_RESIDENT, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) report_fault("no memory for the stacks of threads");
        all = static_cast<unsigned char *>(at);
    }
    for (; made <= index; made++)
        mprotect(all + made * SLOT, GUARD, PROT_NONE);
    return all + index * SLOT + GUARD;
}

void to_scheduler()
{
    counts.switches++;
    vlmp_emu_switch(&running->stack_pointer, scheduler_stack);
}

void make_ready(thread *t)
{
    t->doing = state::READY;
    ready.push_back(t);
    idle_turns = 0;
}

const char *name_of_thread(const thread &t, char (&text)[96])
{
    const uint3 b = t.where->block, i = t.where->thread;
    snprintf(text, sizeof text, "block %u,%u,%u thread %u,%u,%u", b.x, b.y, b.z, i.x, i.y, i.z);
    return text;
}

/* Who waits where, for a message: the first few. */
std::string who_waits()
{
    std::string text;
    unsigned said = 0;
    for (const thread &t : threads) {
        if (t.doing == state::DONE || t.doing == state::READY) continue;
        if (++said > 6) return text + ", …";
        char name[96];
        text += std::string(said == 1 ? "" : ", ") + name_of_thread(t, name) + " in " + t.call +
                " at " + place_of(t.pc);
    }
    return text;
}

void thread_main(void *arg)
{
    thread &t = *static_cast<thread *>(arg);
    block &b = *t.in;
    thread_call(thread_arguments);
    t.pc = nullptr;
    if (!t.copies.empty())
        fault("ends with %zu copies of cp.async that it never waited for", t.copies.size());
    t.with->exited |= 1u << t.lane;
    for (const meeting &m : t.with->open)
        if ((m.mask >> t.lane & 1) != 0)
            fault("ends, and lanes %08x wait for it in %s at %s", m.arrived, m.what,
                  place_of(m.pc).c_str());
    b.exited++;
    if (b.at_barrier != 0)
        fault("ends, and %u threads wait for it in __syncthreads at %s:%d", b.at_barrier,
              b.barrier_at.file, b.barrier_at.line);
    t.doing = state::DONE;
    idle_turns = 0;
    to_scheduler();
    abort(); /* nobody runs what is done */
}

void start_block(block &b, uint3 at, const launch_config &config, unsigned slot, thread *first)
{
    const unsigned count = config.block.x * config.block.y * config.block.z;
    b = block{};
    b.at = at;
    b.count = count;
    b.shared = shared_slot(slot);
    shared_reset(b, config.dynamic_shared);
    b.warps.resize((count + WARP - 1) / WARP);
    counts.blocks++;
    for (unsigned i = 0; i < count; i++) {
        thread &t = first[i];
        t = thread{};
        t.index = i;
        t.lane = i % WARP;
        t.in = &b;
        t.with = &b.warps[i / WARP];
        t.with->tick = 1;
        t.with->lanes |= 1u << t.lane;
        t.with->thread_of[t.lane] = &t;
        t.stack = stack_of(static_cast<unsigned>(&t - threads.data()));
        /* Stacks begin in different cache lines: at the same distance they would share a few sets.
         */
        const size_t usable = STACK_BYTES - 64 * (1 + i % 61);
        static_assert(sizeof(position) <= 64);
        t.where = reinterpret_cast<position *>(t.stack + usable);
        const unsigned xy = config.block.x * config.block.y;
        *t.where = {
            {i % config.block.x, i % xy / config.block.x, i / xy}, at, config.block, config.grid};
        t.stack_pointer = fiber_make(t.stack, usable, thread_main, &t);
        make_ready(&t);
    }
}

/* Runs what is ready, in an order that the seed decides, until nothing is left. */
bool run_ready(const launch_config &config)
{
    while (!ready.empty() && !has_fault) {
        std::swap(ready[random_below(ready.size())], ready.back());
        thread *t = ready.back();
        ready.pop_back();
        running = t;
        here = t->where;
        idle_turns++;
        vlmp_emu_switch(&scheduler_stack, t->stack_pointer);
        running = nullptr;
        here = nullptr;
        if (has_fault) break;
        if (t->doing == state::READY) ready.push_back(t); /* it paused */
        if (idle_turns > PATIENCE)
            report_fault(std::string(config.name) + ": every thread waits for what nobody writes");
    }
    ready.clear();
    if (has_fault) return false;
    for (const thread &t : threads)
        if (t.doing != state::DONE) {
            report_fault(std::string(config.name) + ": nobody can go on: " + who_waits());
            return false;
        }
    return true;
}

} // namespace

bool take_fault(std::string &text)
{
    if (!has_fault) return false;
    text = fault_text;
    has_fault = false;
    return true;
}

const launch_config *current_launch()
{
    return launching;
}

bool run_grid(const launch_config &config, void (*call)(const void *), const void *arguments)
{
    const unsigned count = config.block.x * config.block.y * config.block.z;
    const size_t blocks = static_cast<size_t>(config.grid.x) * config.grid.y * config.grid.z;
    const size_t resident = config.cooperative ? blocks : 1;
    counts.launches++;
    launching = &config;
    thread_call = call;
    thread_arguments = arguments;
    std::vector<block> slots(resident);
    std::vector<size_t> order(blocks);
    for (size_t i = 0; i < blocks; i++)
        order[i] = i;
    for (size_t i = blocks; i > 1; i--)
        std::swap(order[i - 1], order[random_below(i)]);
    bool good = true;
    for (size_t i = 0; good && i < blocks; i += resident) {
        threads.clear();
        threads.resize(resident * count);
        for (size_t j = 0; j < resident; j++) {
            const size_t n = order[i + j], x = config.grid.x, y = config.grid.y;
            start_block(slots[j],
                        {static_cast<unsigned>(n % x), static_cast<unsigned>(n / x % y),
                         static_cast<unsigned>(n / x / y)},
                        config, static_cast<unsigned>(j), threads.data() + j * count);
        }
        good = run_ready(config);
    }
    launching = nullptr;
    return good;
}

/* ---- Where threads meet ---- */

void block_barrier(site at, int *sum, int *all, int *any)
{
    thread &t = *running;
    block &b = *t.in;
    EMU_ENTER("__syncthreads");
    if (b.exited != 0) fault("%u threads of the block have ended", b.exited);
    if (b.at_barrier != 0 &&
        (b.barrier_at.line != at.line || strcmp(b.barrier_at.file, at.file) != 0))
        fault("others of the block wait in the one at %s:%d", b.barrier_at.file, b.barrier_at.line);
    if (b.at_barrier == 0) b.sum = 0, b.all = 1, b.any = 0;
    b.barrier_at = at;
    b.sum += sum != nullptr ? *sum : 0;
    b.all &= all != nullptr ? *all : 1;
    b.any |= any != nullptr ? *any : 0;
    if (++b.at_barrier < b.count) {
        t.doing = state::BARRIER;
        to_scheduler();
    } else {
        b.at_barrier = 0;
        b.epoch = next_epoch();
        b.last_sum = b.sum, b.last_all = b.all, b.last_any = b.any;
        for (warp &w : b.warps)
            for (unsigned lane = 0; lane < WARP; lane++)
                if ((w.lanes >> lane & 1) != 0 && w.thread_of[lane] != &t)
                    make_ready(w.thread_of[lane]);
        pause(); /* whoever came last need not be the first to leave */
    }
    if (sum != nullptr) *sum = b.last_sum;
    if (all != nullptr) *all = b.last_all;
    if (any != nullptr) *any = b.last_any;
}

static void order_lanes(warp &w, unsigned mask)
{
    const unsigned tick = ++w.tick;
    unsigned joined[WARP] = {0};
    for (unsigned i = 0; i < WARP; i++)
        for (unsigned j = 0; j < WARP && (mask >> i & 1) != 0; j++)
            joined[j] = std::max(joined[j], w.thread_of[i]->known[j]);
    for (unsigned i = 0; i < WARP; i++) {
        if ((mask >> i & 1) == 0) continue;
        for (unsigned j = 0; j < WARP; j++)
            w.thread_of[i]->known[j] = (mask >> j & 1) != 0 ? tick : joined[j];
    }
}

void meet(unsigned mask, const void *in, void *out, rule *compute, bool orders)
{
    thread &t = *running;
    warp &w = *t.with;
    if ((mask >> t.lane & 1) == 0) fault("lane %u is not in its own mask %08x", t.lane, mask);
    if ((mask & ~w.lanes) != 0 && (mask & ~w.lanes) != ~w.lanes)
        fault("mask %08x names lanes that the warp lacks (it has %08x)", mask, w.lanes);
    mask &= w.lanes;
    if ((mask & w.exited) != 0) fault("lanes %08x of the mask have ended", mask & w.exited);
    meeting *open = nullptr;
    for (meeting &m : w.open) {
        if ((m.mask & mask) == 0) continue;
        if (m.mask != mask || (m.what != t.call && strcmp(m.what, t.call) != 0))
            fault("mask %08x, and lanes %08x wait in %s at %s with mask %08x", mask, m.arrived,
                  m.what, place_of(m.pc).c_str(), m.mask);
        open = &m;
    }
    if (open == nullptr) {
        w.open.push_back({t.call, mask, 0, t.pc, {}, {}});
        open = &w.open.back();
    }
    open->arrived |= 1u << t.lane;
    open->in[t.lane] = in;
    open->out[t.lane] = out;
    if (open->arrived != mask) {
        t.doing = state::WARP_WAIT;
        to_scheduler();
        return;
    }
    const meeting all = *open;
    w.open.erase(w.open.begin() + (open - w.open.data()));
    if (compute != nullptr) compute(all);
    if (orders) order_lanes(w, mask);
    for (unsigned lane = 0; lane < WARP; lane++)
        if ((mask >> lane & 1) != 0 && lane != t.lane) make_ready(w.thread_of[lane]);
}

void pause()
{
    if (running == nullptr) return;
    running->doing = state::READY;
    to_scheduler();
}

void progress()
{
    idle_turns = 0;
}

/* ---- Faults ---- */

void report_fault(const std::string &text)
{
    if (!keep_faults) {
        fprintf(stderr, "emulated GPU: %s\n", text.c_str());
        abort();
    }
    if (!has_fault) fault_text = text;
    has_fault = true;
}

void fault(const char *format, ...)
{
    char text[1024], name[96];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    std::string whole = text;
    if (running != nullptr) {
        whole = std::string(launching->name) + " (" + launching->at.file + ":" +
                std::to_string(launching->at.line) + "), " + name_of_thread(*running, name);
        if (running->pc != nullptr)
            whole += std::string(", ") + running->call + " at " + place_of(running->pc);
        whole += std::string(": ") + text;
    }
    report_fault(whole);
    if (running == nullptr) abort(); /* the host's part of the emulator calls report_fault */
    to_scheduler();
    abort();
}

} // namespace emu

using namespace emu;

extern "C" void vlmp_emu_seed(uint64_t seed)
{
    set_seed(seed);
}

extern "C" void vlmp_emu_keep_faults(int keep)
{
    keep_faults = keep != 0;
}

extern "C" vlmp_emu_counts vlmp_emu_read_counts(void)
{
    return counts;
}
