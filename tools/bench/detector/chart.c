/* tools/bench/detector/chart.c: small multiples on one scale, readable on light and dark pages. */
#include <math.h>

#include "tools/bench/detector/results.h"

enum {
    COLUMN_COUNT = 4,
    PANEL_WIDTH = 250,
    PANEL_HEIGHT = 190,
    GAP_X = 22,
    GAP_Y = 58,
    LEFT = 64,
    TOP = 92,
    WIDTH = LEFT + COLUMN_COUNT * (PANEL_WIDTH + GAP_X),
    HEIGHT = TOP + 2 * PANEL_HEIGHT + GAP_Y + 60,
    DETECTION_MS_MIN = 25,
    DETECTION_MS_MAX = 400,
    DECADES = 5, /* 1 to 100,000 mistakes in a million heartbeats; none at all below that. */
    NONE_HEIGHT = 22,
};

struct point {
    double x;
    double y;
};

static const char *const classes[SUBJECT_KIND_COUNT] = {"ours", "fixed", "chen", "exponential"};

/* Later in the file is above: ours comes last. */
static const enum subject_kind order[SUBJECT_KIND_COUNT] = {SUBJECT_EXPONENTIAL, SUBJECT_FIXED,
                                                            SUBJECT_CHEN, SUBJECT_OURS};

static const char style[] =
    "<style>\n"
    "text { font: 12px system-ui, 'DejaVu Sans', sans-serif; fill: #59636e; }\n"
    ".page { fill: #ffffff; }\n"
    ".title { font-size: 17px; font-weight: 600; fill: #1f2328; }\n"
    ".panel { font-size: 13px; font-weight: 600; fill: #1f2328; }\n"
    ".grid { stroke: #d8dee4; stroke-width: 1; } .axis { stroke: #59636e; }\n"
    ".middle { text-anchor: middle; } .end { text-anchor: end; }\n"
    "path { fill: none; stroke-width: 1.8; stroke-linejoin: round; }\n"
    ".ours { stroke: #0b62d6; stroke-width: 3; }\n"
    ".fixed { stroke: #c2570c; stroke-dasharray: 7 3; }\n"
    ".chen { stroke: #147a3d; stroke-dasharray: 2 3; stroke-width: 2.4; }\n"
    ".exponential { stroke: #8a3ffc; stroke-dasharray: 9 3 2 3; }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "text { fill: #9198a1; } .page { fill: #0d1117; } .title, .panel { fill: #e6edf3; }\n"
    ".grid { stroke: #30363d; } .axis { stroke: #9198a1; }\n"
    ".ours { stroke: #58a6ff; } .fixed { stroke: #f0883e; }\n"
    ".chen { stroke: #3fb950; } .exponential { stroke: #c297ff; } }\n"
    "</style>\n";

static double x_of(double detection_ms)
{
    return PANEL_WIDTH * (detection_ms - DETECTION_MS_MIN) / (DETECTION_MS_MAX - DETECTION_MS_MIN);
}

static double y_of(double mistakes)
{
    double scale = (double)(PANEL_HEIGHT - NONE_HEIGHT) / DECADES;

    return mistakes < 1 ? PANEL_HEIGHT - 6
                        : PANEL_HEIGHT - NONE_HEIGHT - scale * fmin(log10(mistakes), DECADES);
}

static struct point corner_of(uint32_t panel)
{
    return (struct point){LEFT + panel % COLUMN_COUNT * (PANEL_WIDTH + GAP_X),
                          TOP + panel / COLUMN_COUNT * (PANEL_HEIGHT + GAP_Y)};
}

static void write_grid(FILE *file, uint32_t panel)
{
    static const char *const labels[DECADES + 1] = {"1", "10", "100", "1,000", "10,000", "100,000"};
    bool is_first = panel % COLUMN_COUNT == 0;

    for (int decade = 0; decade <= DECADES; decade++) {
        double y = y_of(pow(10, decade));

        fprintf(file, "<line class='grid' x1='0' x2='%d' y1='%.1f' y2='%.1f'/>\n", PANEL_WIDTH, y,
                y);
        if (is_first) {
            fprintf(file, "<text class='end' x='-7' y='%.1f'>%s</text>\n", y + 4, labels[decade]);
        }
    }
    if (is_first) {
        fprintf(file, "<text class='end' x='-7' y='%.1f'>none</text>\n", y_of(0) + 4);
    }
    for (int detection_ms = 100; detection_ms <= DETECTION_MS_MAX; detection_ms += 100) {
        double x = x_of(detection_ms);

        fprintf(file, "<line class='grid' x1='%.1f' x2='%.1f' y1='0' y2='%d'/>\n", x, x,
                PANEL_HEIGHT);
        fprintf(file, "<text class='middle' x='%.1f' y='%d'>%d</text>\n", x, PANEL_HEIGHT + 16,
                detection_ms);
    }
    fprintf(file, "<line class='axis' x1='0' x2='%d' y1='%d' y2='%d'/>\n", PANEL_WIDTH,
            PANEL_HEIGHT, PANEL_HEIGHT);
}

/* The fewest mistakes that are to be had for each detection time: stairs that only go down. */
static void write_series(FILE *file, const struct series *series, const char *class,
                         uint32_t beat_count)
{
    double last = 0;
    bool is_begun = false;

    for (int detection_ms = DETECTION_MS_MIN; detection_ms <= DETECTION_MS_MAX; detection_ms++) {
        const struct run *best = series_best(series, detection_ms);

        if (best == NULL) {
            continue;
        }
        double y = y_of((double)best->mistake_count * 1e6 / beat_count);

        if (!is_begun) {
            fprintf(file, "<path class='%s' d='M%.1f %.1f", class, x_of(detection_ms), y);
        } else if (y != last) {
            fprintf(file, "H%.1fV%.1f", x_of(detection_ms), y);
        }
        is_begun = true;
        last = y;
    }
    if (is_begun) {
        fprintf(file, "H%d'/>\n", PANEL_WIDTH);
    }
}

static void write_panel(FILE *file, const struct results *results, uint32_t panel)
{
    const struct row *row = &results->rows[panel];
    struct point corner = corner_of(panel);

    fprintf(file, "<g transform='translate(%.0f %.0f)'>\n", corner.x, corner.y);
    fprintf(file, "<text class='panel' y='-9'>%s</text>\n", row->name);
    write_grid(file, panel);
    for (uint32_t i = 0; i < SUBJECT_KIND_COUNT; i++) {
        enum subject_kind kind = order[i];

        write_series(file, &row->series[kind], classes[kind], results->beat_count);
    }
    fprintf(file, "</g>\n");
}

/* In the place of a panel. */
static void write_legend(FILE *file, uint32_t panel)
{
    struct point corner = corner_of(panel);

    fprintf(file, "<g transform='translate(%.0f %.0f)'>\n", corner.x, corner.y);
    for (uint32_t i = 0; i < SUBJECT_KIND_COUNT; i++) {
        double y = 30 + 30.0 * i;

        fprintf(file, "<path class='%s' d='M20 %.0fH76'/>\n", classes[i], y);
        fprintf(file, "<text x='88' y='%.0f'>%s</text>\n", y + 4,
                subject_name((enum subject_kind)i));
    }
    fprintf(file, "<text x='20' y='164'>Lower and further left is better.</text>\n</g>\n");
}

void chart_write(FILE *file, const struct results *results)
{
    fprintf(file,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' role='img'>\n"
            "<title>Mistakes against detection time</title>\n%s"
            "<rect class='page' width='%d' height='%d' rx='8'/>\n",
            WIDTH, HEIGHT, style, WIDTH, HEIGHT);
    fprintf(file, "<text class='title' x='%d' y='32'>Mistakes against detection time</text>\n",
            LEFT);
    fprintf(file,
            "<text x='%d' y='52'>Wrong suspicions in a million heartbeats (50 ms apart) that are "
            "to be had for a mean detection time, in ms.</text>\n",
            LEFT);
    for (uint32_t panel = 0; panel < TRACE_KIND_COUNT; panel++) {
        write_panel(file, results, panel);
    }
    write_legend(file, TRACE_KIND_COUNT);
    fprintf(file, "<text class='middle' x='%d' y='%d'>mean detection time, ms</text>\n</svg>\n",
            WIDTH / 2, HEIGHT - 16);
}
