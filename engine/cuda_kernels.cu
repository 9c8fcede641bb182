// Preparing pixels and decoding Darknet's heads on the card; compiled for it by NVRTC when an engine is loaded.

// The format of planes and heads: 16-bit floats by PTX, so that no header of CUDA's is needed.
__device__ float load(const void* values, long i, int half) {
    if (!half) return ((const float*)values)[i];
    unsigned short bits = ((const unsigned short*)values)[i];
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ void store(void* values, long i, int half, float value) {
    if (!half) {
        ((float*)values)[i] = value;
        return;
    }
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    ((unsigned short*)values)[i] = bits;
}

// Where a pixel of the target lies between two of the source, as cv2.resize has it: the first, and how far on in 2048ths.
__device__ int between(int at, float scale, int size, int* weight) {
    float place = (at + 0.5f) * scale - 0.5f;
    int first = (int)floorf(place);
    float part = place - first;
    if (first < 0) { first = 0; part = 0.0f; }
    if (first >= size - 1) { first = size - 1; part = 0.0f; }
    *weight = (int)rintf(part * 2048.0f);
    return first;
}

// A frame, uint8 (frame_height, frame_width, channels) BGR or BGRA, to planes (3, height, width) RGB, 0 to 1.
extern "C" __global__ void prepare(
    const unsigned char* frame, int frame_width, int frame_height, int channels,
    void* planes, int half, int width, int height,
    int left, int top, int placed_width, int placed_height, float scale_x, float scale_y, int pad) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    long plane = (long)width * height, at = (long)y * width + x;
    int px = x - left, py = y - top;
    bool outside = px < 0 || py < 0 || px >= placed_width || py >= placed_height;
    int weight_x = 0, weight_y = 0, x0 = 0, y0 = 0;
    if (!outside) {
        x0 = between(px, scale_x, frame_width, &weight_x);
        y0 = between(py, scale_y, frame_height, &weight_y);
    }
    int x1 = min(x0 + 1, frame_width - 1), y1 = min(y0 + 1, frame_height - 1);
    for (int c = 0; c < 3; ++c) {
        int value = pad;
        if (!outside) {
            int upper = frame[((long)y0 * frame_width + x0) * channels + c] * (2048 - weight_x)
                      + frame[((long)y0 * frame_width + x1) * channels + c] * weight_x;
            int lower = frame[((long)y1 * frame_width + x0) * channels + c] * (2048 - weight_x)
                      + frame[((long)y1 * frame_width + x1) * channels + c] * weight_x;
            value = (upper * (2048 - weight_y) + lower * weight_y + (1 << 21)) >> 22;
        }
        store(planes, (2 - c) * plane + at, half, value * (1.0f / 255.0f));
    }
}

__device__ float sigmoid(float x) { return 0.5f * (1.0f + tanhf(0.5f * x)); }

// What a candidate is: left, top, width, height, score, class, and its place in the order that the host's decoding has.
struct Row { float box[4]; float score; int kind; int order; int unused; };
struct Found { int count; int unused[7]; Row rows[1]; };

// One head, planes (anchors * (5 + classes), cells): every cell and class with a score above the threshold becomes a row.
// units: for each anchor and cell pixels a unit of x, y, width and height, and what is then added to x and y.
extern "C" __global__ void decode(
    const void* head, int half, int cells, int anchors, int classes, int new_coords, float floor, float threshold,
    const float* units, int first, Found* found, int limit) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= cells * anchors) return;
    int anchor = i / cells, cell = i % cells;
    long base = (long)anchor * (5 + classes) * cells + cell;
    float raw = load(head, base + 4L * cells, half);
    if (!(raw > floor)) return;
    float objectness = new_coords ? raw : sigmoid(raw);
    for (int c = 0; c < classes; ++c) {
        float of_class = load(head, base + (5L + c) * cells, half);
        if (!(of_class > floor)) continue;
        float score = objectness * (new_coords ? of_class : sigmoid(of_class));
        if (!(score > threshold)) continue;
        int place = atomicAdd(&found->count, 1);
        if (place >= limit) continue;
        const float* unit = units + 6L * i;
        Row* row = found->rows + place;
        float at[4];
        for (int k = 0; k < 4; ++k) {
            float value = load(head, base + (long)k * cells, half);
            if (k < 2) at[k] = new_coords ? value : sigmoid(value);
            else at[k] = new_coords ? 4.0f * value * value : expf(fminf(value, 20.0f));
            at[k] *= unit[k];
        }
        row->box[0] = at[0] + unit[4] - at[2] / 2;
        row->box[1] = at[1] + unit[5] - at[3] / 2;
        row->box[2] = at[2];
        row->box[3] = at[3];
        row->score = score;
        row->kind = c;
        row->order = (first + i) * classes + c;
    }
}
