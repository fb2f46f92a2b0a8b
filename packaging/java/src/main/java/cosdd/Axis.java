package cosdd;

/**
 * How JDLL 0.6 cuts one axis of an image.
 *
 * <p>Tiles of `tile` pixels begin at `start(i) - before`, which may lie outside of the image; of each result the pixels
 * from `before` on, `inner` of them, are kept. Beyond its ends the image is mirrored, its last pixel repeated.
 *
 * @param size of the image
 * @param tile of every tile
 * @param before what is cut off at the beginning of each tile
 * @param inner what is kept of each tile
 * @param tiles how many there are
 */
record Axis(int size, int tile, int before, int inner, int tiles) {

    /** An axis that is not cut: the channels. */
    static Axis whole(int size) {
        return new Axis(size, size, 0, size, 1);
    }

    /** Where the description allows one size only, `tile`. */
    static Axis fixed(int size, int tile, int halo) {
        return cut(size, tile, halo);
    }

    /** Where the description allows `min + n * step`: one tile of the image and its halo. */
    static Axis atLeast(int size, int min, int step, int halo) {
        int tile = (size + 2 * halo) / step * step;
        if (tile > 3 * size && tile - step >= min) {
            tile -= step;
        }
        int least = (size + step - 1) / step * step;
        if (tile > 3 * size && least >= min) {
            tile = least;
        }
        if ((tile - min) % step != 0) {
            throw new IllegalArgumentException("JDLL refuses a tile of " + tile + " px, not " + min + " + n * " + step);
        }
        return cut(size, tile, halo);
    }

    private static Axis cut(int size, int tile, int halo) {
        if (tile > 3 * size) {
            throw new IllegalArgumentException("JDLL refuses tiles of " + tile + " px for an image of " + size + " px");
        }
        if (tile <= 2 * halo) {
            throw new IllegalArgumentException("JDLL refuses tiles of " + tile + " px for a halo of " + halo + " px");
        }
        int tiles = divideUp(size, tile - 2 * halo);
        int before = Math.max(halo, divideUp(Math.max(0, tile - size), 2)); // a small image lies in the tile's middle
        int after = Math.max(halo, tile - size - before);
        return new Axis(size, tile, before, tile - before - after, tiles);
    }

    /** The image's pixel from which on tile i is kept; the last one is moved back, so that it ends with the image. */
    int start(int i) {
        return Math.min(inner * i, size - inner);
    }

    /** The image's pixel that stands at a place which may lie outside of it. */
    int mirrored(int place) {
        int phase = Math.floorMod(place, 2 * size);
        return phase < size ? phase : 2 * size - 1 - phase;
    }

    private static int divideUp(int a, int b) {
        return (a + b - 1) / b;
    }
}
