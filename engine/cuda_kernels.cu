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

// A head, planes (anchors * (5 + classes), cells). units: for each anchor and cell pixels a unit of x, y, width and
// height, and what is then added to x and y. first: how many cells the heads before it have.
struct Head { const void* values; const float* units; int half; int cells; int anchors; int new_coords; float floor; int first; };

// All heads: every cell and class with a score above the threshold becomes a row. A row of blocks a head.
extern "C" __global__ void decode(const Head* heads, int classes, float threshold, Found* found, int limit) {
    Head head = heads[blockIdx.y];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= head.cells * head.anchors) return;
    int anchor = i / head.cells, cell = i % head.cells;
    long base = (long)anchor * (5 + classes) * head.cells + cell;
    float raw = load(head.values, base + 4L * head.cells, head.half);
    if (!(raw > head.floor)) return;
    float objectness = head.new_coords ? raw : sigmoid(raw);
    for (int c = 0; c < classes; ++c) {
        float of_class = load(head.values, base + (5L + c) * head.cells, head.half);
        if (!(of_class > head.floor)) continue;
        float score = objectness * (head.new_coords ? of_class : sigmoid(of_class));
        if (!(score > threshold)) continue;
        int place = atomicAdd(&found->count, 1);
        if (place >= limit) continue;
        const float* unit = head.units + 6L * i;
        Row* row = found->rows + place;
        float at[4];
        for (int k = 0; k < 4; ++k) {
            float value = load(head.values, base + (long)k * head.cells, head.half);
            if (k < 2) at[k] = head.new_coords ? value : sigmoid(value);
            else at[k] = head.new_coords ? 4.0f * value * value : expf(fminf(value, 20.0f));
            at[k] *= unit[k];
        }
        row->box[0] = at[0] + unit[4] - at[2] / 2;
        row->box[1] = at[1] + unit[5] - at[3] / 2;
        row->box[2] = at[2];
        row->box[3] = at[3];
        row->score = score;
        row->kind = c;
        row->order = (head.first + i) * classes + c;
    }
}

#define MOST 384
#define WORDS (MOST / 32)

// What the host reads, in its own memory: how many candidates there are, how many of them survive, and these, best
// first, with left, top, right and bottom in pixels of the frame; none where there are more than MOST candidates.
struct Answer { int counts[2]; int unused[6]; float boxes[MOST][4]; float scores[MOST]; int kinds[MOST]; };

// From the network's input to the frame, x and y: what is taken away, what is multiplied by, and the frame's size.
struct ToFrame { float shift[2]; float scale[2]; float limit[2]; };

// Whether two boxes overlap by more than iou, computed as OpenCV does.
__device__ bool overlap(float4 a, float4 b, float iou) {
    double left = fmax((double)a.x, (double)b.x), top = fmax((double)a.y, (double)b.y);
    double width = fmin((double)a.x + a.z, (double)b.x + b.z) - left;
    double height = fmin((double)a.y + a.w, (double)b.y + b.w) - top;
    if (width <= 0 || height <= 0) return false;
    double both = width * height, all = (double)a.z * a.w + (double)b.z * b.w;
    return 1.0f - (float)(1.0 - both / (all - both)) > iou;
}

// Greedy non-maximum suppression within each class, by one block of MOST threads; the count of candidates is then 0
// again, for the next frame.
extern "C" __global__ void suppress(Found* found, Answer* answer, const ToFrame* frame, float iou) {
    __shared__ unsigned long long keys[MOST];
    __shared__ float4 boxes[MOST];
    __shared__ int kinds[MOST];
    __shared__ unsigned over[MOST][WORDS];
    __shared__ unsigned stays[WORDS];
    int i = threadIdx.x, n = found->count;
    __syncthreads();
    if (i == 0) {
        found->count = 0;
        answer->counts[0] = n;
        answer->counts[1] = 0;
    }
    if (n > MOST) return;

    // Its rank is the number of those before it: of a better score, or as good and earlier in the host's order.
    Row row;
    if (i < n) {
        row = found->rows[i];
        keys[i] = ((unsigned long long)__float_as_uint(row.score) << 32) | (0xffffffffu - (unsigned)row.order);
    }
    __syncthreads();
    int rank = 0;
    if (i < n) {
        unsigned long long own = keys[i];
        for (int j = 0; j < n; ++j) rank += keys[j] > own;
        boxes[rank] = make_float4(row.box[0], row.box[1], row.box[2], row.box[3]);
        kinds[rank] = row.kind;
    }
    __syncthreads();

    // Which of the later ones it overlaps, a bit each.
    int words = (n + 31) / 32;
    if (i < n) {
        float4 box = boxes[i];
        int kind = kinds[i];
        for (int word = i / 32; word < words; ++word) {
            unsigned bits = 0;
            for (int b = 0; b < 32; ++b) {
                int j = 32 * word + b;
                if (j > i && j < n && kinds[j] == kind && overlap(box, boxes[j], iou)) bits |= 1u << b;
            }
            over[i][word] = bits;
        }
    }
    __syncthreads();

    // In turn, who is not gone yet stays and takes those with it; a lane keeps the word of 32.
    if (i < 32) {
        unsigned gone = 0, kept = 0;
        for (int p = 0; p < n; ++p) {
            if (__shfl_sync(0xffffffffu, gone, p / 32) >> (p % 32) & 1) continue;
            if (i >= p / 32 && i < words) gone |= over[p][i];
            if (i == p / 32) kept |= 1u << (p % 32);
        }
        if (i < WORDS) stays[i] = kept;
    }
    __syncthreads();
    if (i < n && (stays[rank / 32] >> (rank % 32) & 1)) {
        int place = __popc(stays[rank / 32] & ((1u << (rank % 32)) - 1));
        for (int word = 0; word < rank / 32; ++word) place += __popc(stays[word]);
        row.box[2] += row.box[0];
        row.box[3] += row.box[1];
        for (int k = 0; k < 4; ++k) {
            float at = (row.box[k] - frame->shift[k % 2]) * frame->scale[k % 2], limit = frame->limit[k % 2];
            answer->boxes[place][k] = at < 0 ? 0 : at > limit ? limit : at;  // what is no number stays so
        }
        answer->scores[place] = row.score;
        answer->kinds[place] = row.kind;
        int last = __popc(stays[rank / 32] >> (rank % 32) >> 1);
        for (int word = rank / 32 + 1; word < words; ++word) last += __popc(stays[word]);
        if (last == 0) answer->counts[1] = place + 1;
    }
}
