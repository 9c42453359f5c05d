import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Supplier;
import loci.common.services.ServiceFactory;
import loci.formats.FormatTools;
import loci.formats.IFormatReader;
import loci.formats.ImageReader;
import loci.formats.ome.OMEXMLMetadata;
import loci.formats.services.OMEXMLService;
import ome.units.UNITS;
import ome.units.quantity.Length;
import org.json.JSONArray;
import org.json.JSONObject;
import org.slf4j.LoggerFactory;

/**
 * Bio-Formats behind a pipe: one JSON request per line on stdin, one JSON answer per line on stdout.
 *
 * <p>Requests: {"op": "open", "path"}, {"op": "read", "series", "resolution", "channel", "plane",
 * "x", "y", "width", "height", "out"}, {"op": "close"}. At most one file is open at a time. Pixels
 * go to the file "out" as Bio-Formats hands them over; the answer says how they lie in it.
 */
public final class BioFormatsServer {
  private final ListAppender<ILoggingEvent> log = new ListAppender<>();
  private IFormatReader reader;

  public static void main(String[] arguments) throws IOException {
    // Whatever a library prints must not end up between the answers.
    PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    System.setOut(System.err);
    new BioFormatsServer().serve(answers);
  }

  private void serve(PrintStream answers) throws IOException {
    Logger root = (Logger) LoggerFactory.getLogger(org.slf4j.Logger.ROOT_LOGGER_NAME);
    root.detachAndStopAllAppenders();
    root.setLevel(Level.WARN);
    log.start();
    root.addAppender(log);
    BufferedReader requests =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = requests.readLine(); line != null; line = requests.readLine()) {
      answers.println(answer(new JSONObject(line)));
    }
    close();
  }

  private JSONObject answer(JSONObject request) {
    JSONObject answer;
    try {
      switch (request.getString("op")) {
        case "open":
          answer = open(request.getString("path"));
          break;
        case "read":
          answer = read(request);
          break;
        case "close":
          close();
          answer = new JSONObject();
          break;
        default:
          throw new IllegalArgumentException("unknown op " + request.getString("op"));
      }
      answer.put("ok", true);
    } catch (Throwable failure) {
      String message = failure.getClass().getSimpleName() + ": " + failure.getMessage();
      answer = new JSONObject().put("ok", false).put("error", message);
    }
    JSONArray warnings = new JSONArray();
    for (ILoggingEvent event : log.list) {
      warnings.put(event.getLevel() + " " + event.getFormattedMessage());
    }
    log.list.clear();
    return answer.put("warnings", warnings);
  }

  private void close() throws IOException {
    if (reader != null) {
      reader.close();
      reader = null;
    }
  }

  private JSONObject open(String path) throws Exception {
    close();
    OMEXMLMetadata metadata =
        new ServiceFactory().getInstance(OMEXMLService.class).createOMEXMLMetadata();
    ImageReader opened = new ImageReader();
    try {
      opened.setMetadataStore(metadata);
      opened.setFlattenedResolutions(false);
      opened.setId(path);
      JSONObject answer = describe(opened, metadata);
      reader = opened;
      return answer;
    } finally {
      if (reader == null) {
        opened.close();
      }
    }
  }

  private static JSONObject describe(ImageReader opened, OMEXMLMetadata metadata) {
    JSONArray all = new JSONArray();
    for (int index = 0; index < opened.getSeriesCount(); index++) {
      opened.setSeries(index);
      JSONObject series = new JSONObject();
      series.put("name", orNull(metadata.getImageName(index)));
      series.put("thumbnail", opened.isThumbnailSeries());
      series.put("pixel_type", FormatTools.getPixelTypeString(opened.getPixelType()));
      series.put("planes", opened.getSizeZ());
      series.put("channels", opened.getEffectiveSizeC());
      series.put("samples", opened.getRGBChannelCount());
      series.put("times", opened.getSizeT());
      series.put("x_um", micrometres(metadata.getPixelsPhysicalSizeX(index)));
      series.put("y_um", micrometres(metadata.getPixelsPhysicalSizeY(index)));
      series.put("z_um", micrometres(metadata.getPixelsPhysicalSizeZ(index)));
      JSONArray names = new JSONArray();
      for (int channel = 0; channel < metadata.getChannelCount(index); channel++) {
        names.put(orNull(metadata.getChannelName(index, channel)));
      }
      series.put("channel_names", names);
      JSONArray sizes = new JSONArray();
      for (int resolution = 0; resolution < opened.getResolutionCount(); resolution++) {
        opened.setResolution(resolution);
        sizes.put(new JSONArray().put(opened.getSizeX()).put(opened.getSizeY()));
      }
      all.put(series.put("sizes", sizes));
    }
    return new JSONObject()
        .put("format", opened.getFormat())
        .put("reader", opened.getReader().getClass().getSimpleName())
        .put("objective", objective(metadata))
        .put("series", all);
  }

  /** The nominal magnification of the objective the first image names, else of the only one. */
  private static Object objective(OMEXMLMetadata metadata) {
    String wanted = ifAny(() -> metadata.getObjectiveSettingsID(0));
    for (int instrument = 0; instrument < metadata.getInstrumentCount(); instrument++) {
      for (int lens = 0; lens < metadata.getObjectiveCount(instrument); lens++) {
        String id = metadata.getObjectiveID(instrument, lens);
        if (wanted == null || wanted.equals(id)) {
          return orNull(metadata.getObjectiveNominalMagnification(instrument, lens));
        }
      }
    }
    return JSONObject.NULL;
  }

  private JSONObject read(JSONObject request) throws Exception {
    if (reader == null) {
      throw new IllegalStateException("nothing is open");
    }
    reader.setSeries(request.getInt("series"));
    reader.setResolution(request.getInt("resolution"));
    int index = reader.getIndex(request.getInt("plane"), request.getInt("channel"), 0);
    byte[] pixels =
        reader.openBytes(
            index,
            request.getInt("x"),
            request.getInt("y"),
            request.getInt("width"),
            request.getInt("height"));
    Files.write(Path.of(request.getString("out")), pixels);
    return new JSONObject()
        .put("pixel_type", FormatTools.getPixelTypeString(reader.getPixelType()))
        .put("little_endian", reader.isLittleEndian())
        .put("interleaved", reader.isInterleaved())
        .put("samples", reader.getRGBChannelCount());
  }

  private static Object micrometres(Length length) {
    Number value = length == null ? null : length.value(UNITS.MICROMETER);
    return orNull(value);
  }

  /** The getters of the metadata store throw where a parent element is absent. */
  private static <T> T ifAny(Supplier<T> getter) {
    try {
      return getter.get();
    } catch (NullPointerException | IndexOutOfBoundsException absent) {
      return null;
    }
  }

  private static Object orNull(Object value) {
    return value == null ? JSONObject.NULL : value;
  }
}
