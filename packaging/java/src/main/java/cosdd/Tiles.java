package cosdd;

import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/** The tiles of an image, by its axes: batch, channel, and those of space. */
record Tiles(List<Axis> axes) {

    int count() {
        return Tensor.count(grid());
    }

    /** Their size along the axes of space, as text: 128 x 128. */
    String size() {
        return axes.stream().skip(2).map(axis -> String.valueOf(axis.tile())).collect(Collectors.joining(" x "));
    }

    /** Runs the model on one tile after the other. Where kept parts overlap, the later tile's stay, as in JDLL. */
    Tensor run(Tensor image, UnaryOperator<Tensor> model) {
        Tensor whole = null;
        for (int n = 0; n < count(); n++) {
            Tensor result = model.apply(cut(image, n));
            if (whole == null) {
                int[] shape = image.shape().clone();
                shape[1] = result.shape()[1]; // channels, of which a result may have others
                whole = Tensor.zeros(shape);
            }
            keep(result, n, whole);
        }
        return whole;
    }

    Tensor cut(Tensor image, int n) {
        int[] tile = Tensor.index(n, grid());
        Tensor cut = Tensor.zeros(axes.stream().mapToInt(Axis::tile).toArray());
        for (int i = 0; i < cut.values().length; i++) {
            int[] place = Tensor.index(i, cut.shape());
            for (int a = 0; a < place.length; a++) {
                Axis axis = axes.get(a);
                place[a] = axis.mirrored(axis.start(tile[a]) - axis.before() + place[a]);
            }
            cut.values()[i] = image.get(place);
        }
        return cut;
    }

    private void keep(Tensor result, int n, Tensor whole) {
        int[] tile = Tensor.index(n, grid());
        int[] inner = axes.stream().mapToInt(Axis::inner).toArray();
        inner[1] = result.shape()[1];
        for (int i = 0; i < Tensor.count(inner); i++) {
            int[] from = Tensor.index(i, inner);
            int[] to = from.clone();
            for (int a = 0; a < from.length; a++) {
                from[a] += axes.get(a).before();
                to[a] += axes.get(a).start(tile[a]);
            }
            whole.set(to, result.get(from));
        }
    }

    private int[] grid() {
        return axes.stream().mapToInt(Axis::tiles).toArray();
    }
}
