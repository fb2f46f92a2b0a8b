// Denoises all images of a folder in Fiji, by deepImageJ 3, with a package of `cosdd-zoo export`.
//
//     fiji --headless -macro denoise_folder.ijm "model.zip;noisy;denoised"
//
// Without arguments Fiji asks for the three. A package that is not in Fiji's models folder yet is unpacked there.

arguments = getArgument();
if (arguments == "") {
    zip = File.openDialog("Package (.zip)");
    input = getDirectory("Folder of noisy images");
    output = getDirectory("Folder for the results");
} else {
    given = split(arguments, ";");
    if (given.length != 3) exit("Found " + given.length + " arguments; expected package;noisy folder;results folder");
    zip = given[0];
    input = given[1];
    output = given[2];
}
if (!File.exists(zip)) exit(zip + " is not there: give a package that cosdd-zoo export wrote");
if (!File.isDirectory(input)) exit(input + " is no folder");

models = getDirectory("imagej") + "models" + File.separator;
name = replace(File.getName(zip), "\\.zip$", "");
model = models + name;
if (!File.exists(model + File.separator + "rdf.yaml")) {
    File.makeDirectory(models);
    File.makeDirectory(model);
    // Windows' and macOS' tar read zips, Linux' does not
    if (startsWith(getInfo("os.name"), "Linux")) exec("unzip", "-o", "-q", zip, "-d", model);
    else exec("tar", "-xf", zip, "-C", model);
    if (!File.exists(model + File.separator + "rdf.yaml"))
        exit(zip + " could not be unpacked to " + model + ": unpack it there by hand, so that rdf.yaml lies in that folder");
    print("installed in " + model);
}
File.makeDirectory(output);
run("DeepImageJ Run", "model_path=[" + model + "] input_path=[" + input + "] output_folder=[" + output + "]");
written = getFileList(output);
print("" + written.length + " files in " + output);
