package cosdd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class TilesTest {

    private static Tensor noise(int... shape) {
        Random random = new Random(0);
        Tensor tensor = Tensor.zeros(shape);
        for (int i = 0; i < tensor.values().length; i++) {
            tensor.values()[i] = random.nextFloat();
        }
        return tensor;
    }

    private static int[] pixels(Axis axis, int i) {
        return IntStream.range(0, axis.tile()).map(p -> axis.mirrored(axis.start(i) - axis.before() + p)).toArray();
    }

    @Test
    void mirrorsTheImageWithItsLastPixelRepeated() {
        Axis axis = Axis.fixed(5, 4, 1);
        assertEquals(3, axis.tiles());
        assertArrayEquals(new int[] {0, 0, 1, 2}, pixels(axis, 0));
        assertArrayEquals(new int[] {1, 2, 3, 4}, pixels(axis, 1));
        assertArrayEquals(new int[] {2, 3, 4, 4}, pixels(axis, 2)); // moved back: it ends with the image and its halo
    }

    @Test
    void anImageOfTheTilesOwnSizeTakesTwoTiles() {
        Axis axis = Axis.fixed(128, 128, 32);
        assertEquals(2, axis.tiles());
        assertEquals(64, axis.inner());
        assertArrayEquals(new int[] {0, 64}, new int[] {axis.start(0), axis.start(1)});
    }

    @Test
    void aSmallImageLiesInTheMiddleOfItsTile() {
        Axis axis = Axis.fixed(3, 8, 1);
        assertEquals(1, axis.tiles());
        assertArrayEquals(new int[] {2, 1, 0, 0, 1, 2, 2, 1}, pixels(axis, 0));
    }

    @Test
    void aFreeSizeIsOneTileOfTheImageAndItsHalo() {
        Axis axis = Axis.atLeast(80, 68, 1, 32);
        assertEquals(144, axis.tile());
        assertEquals(1, axis.tiles());
        assertEquals(32, axis.before());
        assertEquals(80, axis.inner());
    }

    @Test
    void refusesWhatJdllRefuses() {
        assertThrows(IllegalArgumentException.class, () -> Axis.fixed(42, 128, 16)); // less than a third
        assertThrows(IllegalArgumentException.class, () -> Axis.fixed(128, 64, 32)); // nothing inside of the halo
        assertThrows(IllegalArgumentException.class, () -> Axis.atLeast(31, 68, 1, 32)); // shorter than its halo
        assertThrows(IllegalArgumentException.class, () -> Axis.atLeast(100, 66, 4, 8)); // 66 is no multiple of 4
    }

    @Test
    void tilesOfAPointwiseModelMakeTheWholeImage() {
        Tensor image = noise(2, 1, 37, 50);
        Axis batch = Axis.fixed(2, 1, 0);
        Tiles tiles = new Tiles(List.of(batch, Axis.whole(1), Axis.fixed(37, 16, 3), Axis.fixed(50, 20, 3)));
        assertEquals(2 * 4 * 4, tiles.count());
        assertEquals("16 x 20", tiles.size());
        assertArrayEquals(image.affine(2, 1).values(), tiles.run(image, tile -> tile.affine(2, 1)).values());
    }

    @Test
    void theHaloHidesWhereTilesEnd() {
        Tensor image = noise(1, 1, 30, 30);
        Axis single = Axis.whole(1);
        Tiles small = new Tiles(List.of(single, single, Axis.fixed(30, 12, 2), Axis.fixed(30, 12, 2)));
        Tiles large = new Tiles(List.of(single, single, Axis.atLeast(30, 8, 1, 2), Axis.atLeast(30, 8, 1, 2)));
        assertEquals(16, small.count());
        assertEquals(1, large.count());
        Tensor expected = large.run(image, TilesTest::sumOfNeighbours);
        assertArrayEquals(expected.values(), small.run(image, TilesTest::sumOfNeighbours).values());
    }

    @Test
    void aResultMayHaveMoreChannels() {
        Tiles tiles = new Tiles(List.of(Axis.whole(1), Axis.whole(1), Axis.fixed(9, 5, 1)));
        Tensor result = tiles.run(noise(1, 1, 9), tile -> new Tensor(new int[] {1, 2, 5}, twice(tile.values())));
        assertArrayEquals(new int[] {1, 2, 9}, result.shape());
        assertArrayEquals(twice(noise(1, 1, 9).values()), result.values());
    }

    private static float[] twice(float[] values) {
        float[] twice = Arrays.copyOf(values, 2 * values.length);
        System.arraycopy(values, 0, twice, values.length, values.length);
        return twice;
    }

    /** Sees two pixels far along y and x, and zeros beyond the tile. */
    private static Tensor sumOfNeighbours(Tensor x) {
        Tensor sum = Tensor.zeros(x.shape());
        int height = x.shape()[2];
        int width = x.shape()[3];
        for (int i = 0; i < x.values().length; i++) {
            for (int dy = -2; dy <= 2; dy++) {
                for (int dx = -2; dx <= 2; dx++) {
                    int y = i / width + dy;
                    int column = i % width + dx;
                    if (y >= 0 && y < height && column >= 0 && column < width) {
                        sum.values()[i] += x.values()[y * width + column];
                    }
                }
            }
        }
        return sum;
    }
}
