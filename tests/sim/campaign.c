/* tests/sim/campaign.c: seeds are dealt out to processes that report through pipes. */
#include "tests/sim/campaign.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/macros.h"

enum {
    TEXT_SIZE = 4096,
    FULL_SEEDS = 2000,
    SECONDS_MAX = 120,
    SHARE_MAX = 250, /* Seeds of a process: its memory costs more to get than to use again. */
};

struct process {
    pid_t pid; /* 0: none. */
    int answers;
    int errors;
    uint64_t seed; /* That it runs. */
    uint64_t end;  /* Of its share. */
};

struct answer {
    uint64_t seed;
    struct sim_totals totals;
};

struct campaign {
    const struct campaign_options *options;
    struct process processes[SIM_PROCESS_COUNT_MAX];
    uint64_t next; /* The first seed that was not dealt out. */
    uint64_t passed_count;
    uint64_t failed_count;
    struct sim_totals totals;
    bool shows_progress;
};

/* --- Processes ----------------------------------------------------------------------------------
 */

static void add_totals(struct sim_totals *to, const struct sim_totals *from)
{
    to->turn_count += from->turn_count;
    to->virtual_ms += from->virtual_ms;
    to->operation_count += from->operation_count;
    to->checked_count += from->checked_count;
    to->fault_count += from->fault_count;
    to->frame_lost_count += from->frame_lost_count;
    to->frame_again_count += from->frame_again_count;
    to->frame_late_count += from->frame_late_count;
    to->grant_count += from->grant_count;
    to->entry_count += from->entry_count;
    to->trace += from->trace;
    for (uint32_t i = 0; i < SIM_FAULT_KIND_COUNT; i++) {
        to->faults[i] += from->faults[i];
    }
    for (uint32_t i = 0; i < SOMETIMES_COUNT; i++) {
        to->sometimes[i] += from->sometimes[i];
    }
}

/* In the child. */
static _Noreturn void run_share(const struct campaign *campaign, uint64_t from, uint64_t end,
                                int answers)
{
    struct sim_plan *plan = malloc(sizeof(*plan));
    struct answer answer;

    ASSERT(plan != NULL);
    for (uint64_t seed = from; seed < end; seed++) {
        alarm(SECONDS_MAX);
        sim_plan_draw(plan, seed, campaign->options->has_faults);
        answer.seed = seed;
        sim_run(plan, &answer.totals);
        if (write(answers, &answer, sizeof(answer)) != (ssize_t)sizeof(answer)) {
            _exit(1);
        }
    }
    _exit(0);
}

static void begin_share(struct campaign *campaign, struct process *process, uint64_t from,
                        uint64_t end)
{
    int answers[2];
    int errors[2];

    fflush(stdout);
    if (pipe(answers) != 0 || pipe(errors) != 0) {
        perror("pipe");
        exit(1);
    }
    pid_t pid = fork();

    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0) {
        dup2(errors[1], STDERR_FILENO);
        close(answers[0]);
        close(errors[0]);
        close(errors[1]);
        run_share(campaign, from, end, answers[1]);
    }
    close(answers[1]);
    close(errors[1]);
    *process = (struct process){
        .pid = pid, .answers = answers[0], .errors = errors[0], .seed = from, .end = end};
}

static uint64_t share_size(const struct campaign *campaign)
{
    uint64_t size = campaign->options->count / (campaign->options->process_count * 4ul);

    if (campaign->options->stops_early) {
        return 2;
    }
    return size == 0 ? 1 : size > SHARE_MAX ? SHARE_MAX : size;
}

static void deal(struct campaign *campaign, struct process *process)
{
    uint64_t limit = campaign->options->from + campaign->options->count;
    uint64_t end = campaign->next + share_size(campaign);

    if (campaign->next < limit && !(campaign->options->stops_early && campaign->failed_count > 0)) {
        end = end < limit ? end : limit;
        begin_share(campaign, process, campaign->next, end);
        campaign->next = end;
    }
}

static size_t read_all(int file, char *text, size_t text_size)
{
    size_t size = 0;
    ssize_t got;

    while (size + 1 < text_size && (got = read(file, text + size, text_size - 1 - size)) > 0) {
        size += (size_t)got;
    }
    text[size] = '\0';
    return size;
}

/* The process has ended: with its share, or by a failure of the seed that it ran. */
static void end_share(struct campaign *campaign, struct process *process)
{
    char text[TEXT_SIZE];
    int status = 0;
    struct process ended = *process;

    read_all(ended.errors, text, sizeof(text));
    close(ended.answers);
    close(ended.errors);
    waitpid(ended.pid, &status, 0);
    process->pid = 0;
    if (ended.seed == ended.end) {
        deal(campaign, process);
        return;
    }
    campaign->failed_count++;
    printf("%sseed %llu failed (%s %d):\n%srepeat it with: make sim SEED=%llu\n",
           campaign->shows_progress ? "\r" : "", (unsigned long long)ended.seed,
           WIFSIGNALED(status) ? "signal" : "status",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), text,
           (unsigned long long)ended.seed);
    if (campaign->options->stops_early) {
        return;
    }
    if (ended.seed + 1 < ended.end) {
        begin_share(campaign, process, ended.seed + 1, ended.end);
    } else {
        deal(campaign, process);
    }
}

static void show_progress(const struct campaign *campaign)
{
    if (campaign->shows_progress && campaign->passed_count % 20 == 0) {
        uint64_t done_count = campaign->passed_count + campaign->failed_count;

        printf("\r%llu of %llu seeds, %llu failed, %.1f virtual hours ",
               (unsigned long long)done_count, (unsigned long long)campaign->options->count,
               (unsigned long long)campaign->failed_count,
               (double)campaign->totals.virtual_ms / 3.6e6);
        fflush(stdout);
    }
}

static void take_answer(struct campaign *campaign, struct process *process)
{
    struct answer answer;
    size_t size = 0;
    ssize_t got = 1;

    while (size < sizeof(answer) && got > 0) {
        got = read(process->answers, (char *)&answer + size, sizeof(answer) - size);
        size += got > 0 ? (size_t)got : 0;
    }
    if (size < sizeof(answer)) {
        end_share(campaign, process);
        return;
    }
    ASSERT_VALUES(answer.seed == process->seed, answer.seed, process->seed);
    process->seed++;
    campaign->passed_count++;
    answer.totals.trace *= 2 * answer.seed + 1; /* Processes answer in any order. */
    add_totals(&campaign->totals, &answer.totals);
    show_progress(campaign);
}

static bool some_run(struct campaign *campaign)
{
    struct pollfd files[SIM_PROCESS_COUNT_MAX];
    struct process *owners[SIM_PROCESS_COUNT_MAX];
    nfds_t count = 0;

    for (uint32_t i = 0; i < campaign->options->process_count; i++) {
        if (campaign->processes[i].pid != 0) {
            owners[count] = &campaign->processes[i];
            files[count++] =
                (struct pollfd){.fd = campaign->processes[i].answers, .events = POLLIN};
        }
    }
    if (count == 0 || poll(files, count, -1) < 0) {
        return count != 0;
    }
    for (nfds_t i = 0; i < count; i++) {
        if (files[i].revents != 0) {
            take_answer(campaign, owners[i]);
        }
    }
    return true;
}

/* --- Totals -------------------------------------------------------------------------------------
 */

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_CHILDREN, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint32_t print_sometimes(const struct sim_totals *totals)
{
    uint32_t unreached = 0;

    printf("\n%-34s %12s  %s\n", "SOMETIMES", "count", "");
    for (uint32_t i = 0; i < SOMETIMES_COUNT; i++) {
        unreached += totals->sometimes[i] == 0 ? 1 : 0;
        printf("%-34s %12llu  %s\n", sim_sometimes_name((enum sim_sometimes)i),
               (unsigned long long)totals->sometimes[i],
               totals->sometimes[i] == 0 ? "NOT REACHED"
                                         : sim_sometimes_text((enum sim_sometimes)i));
    }
    return unreached;
}

static uint32_t print_totals(const struct campaign *campaign)
{
    const struct sim_totals *totals = &campaign->totals;
    double seconds = cpu_seconds();

    printf("\n%-34s %12s\n", "faults", "count");
    for (uint32_t i = 0; i < SIM_FAULT_KIND_COUNT; i++) {
        printf("%-34s %12llu\n", sim_fault_name((enum sim_fault_kind)i),
               (unsigned long long)totals->faults[i]);
    }
    uint32_t unreached = print_sometimes(totals);

    printf("\nvirtual hours %.1f, turns %llu, entries %llu, faults %llu, frames lost %llu, "
           "repeated %llu, late %llu\n",
           (double)totals->virtual_ms / 3.6e6, (unsigned long long)totals->turn_count,
           (unsigned long long)totals->entry_count, (unsigned long long)totals->fault_count,
           (unsigned long long)totals->frame_lost_count,
           (unsigned long long)totals->frame_again_count,
           (unsigned long long)totals->frame_late_count);
    printf("operations %llu, of keys and judged %llu, grants %llu; rare situations %u of %u\n",
           (unsigned long long)totals->operation_count, (unsigned long long)totals->checked_count,
           (unsigned long long)totals->grant_count, SOMETIMES_COUNT - unreached, SOMETIMES_COUNT);
    printf("%.1f CPU seconds, %.0f virtual seconds in each; trace %016llx\n", seconds,
           seconds > 0 ? (double)totals->virtual_ms / 1000 / seconds : 0,
           (unsigned long long)totals->trace);
    return unreached;
}

bool campaign_run(const struct campaign_options *options)
{
    struct campaign *campaign = calloc(1, sizeof(*campaign));

    ASSERT(campaign != NULL && options->process_count <= SIM_PROCESS_COUNT_MAX);
    campaign->options = options;
    campaign->next = options->from;
    campaign->shows_progress = isatty(STDOUT_FILENO) == 1;
    for (uint32_t i = 0; i < options->process_count; i++) {
        deal(campaign, &campaign->processes[i]);
    }
    while (some_run(campaign)) {
    }
    uint32_t unreached = options->is_brief ? 0 : print_totals(campaign);
    bool is_lacking = options->count >= FULL_SEEDS && options->has_faults && unreached > 0;
    bool is_good = campaign->failed_count == 0 && !is_lacking;

    if (is_lacking) {
        printf("%u rare situations were not reached: the campaign does not count\n", unreached);
    }
    printf("%llu seeds passed, %llu failed\n", (unsigned long long)campaign->passed_count,
           (unsigned long long)campaign->failed_count);
    free(campaign);
    return is_good;
}

/* --- One run ------------------------------------------------------------------------------------
 */

bool campaign_try(const struct sim_plan *plan, struct sim_totals *totals, char *text,
                  size_t text_size)
{
    int answers[2];
    int errors[2];
    int status = 0;

    fflush(stdout);
    if (pipe(answers) != 0 || pipe(errors) != 0) {
        perror("pipe");
        exit(1);
    }
    pid_t pid = fork();

    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0) {
        if (!plan->prints) {
            dup2(errors[1], STDERR_FILENO); /* What nodes log is more than `text` takes. */
        }
        alarm(SECONDS_MAX);
        sim_run(plan, totals);
        fflush(stdout);
        bool is_written = write(answers[1], totals, sizeof(*totals)) == (ssize_t)sizeof(*totals);

        _exit(is_written ? 0 : 1);
    }
    close(answers[1]);
    close(errors[1]);
    read_all(errors[0], text, text_size);
    bool is_whole = read(answers[0], totals, sizeof(*totals)) == (ssize_t)sizeof(*totals);

    close(answers[0]);
    close(errors[0]);
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 && is_whole;
}
