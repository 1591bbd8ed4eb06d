using System;

namespace TisdissRt
{
    /// <summary>An opened bundle.</summary>
    /// <remarks>Sound is mono at the bundle's sample rate, see <see cref="Info"/>. Calls from several threads wait
    /// for each other; several streams of it may run at once, each on a thread of its own.</remarks>
    public sealed class Separator : IDisposable
    {
        private readonly BundleHandle handle;

        /// <summary>Opens the bundle in a folder.</summary>
        /// <exception cref="TisdissException">The folder is not a bundle, or ONNX Runtime is missing.</exception>
        public Separator(string folder, OpenOptions options = null)
        {
            options = options ?? new OpenOptions();
            using (var onnxRuntime = new Utf8Text(options.OnnxRuntime))
            using (var provider = new Utf8Text(options.Provider))
            using (var precision = new Utf8Text(options.Precision))
            using (var path = new Utf8Text(folder))
            {
                var native = new Native.OpenOptions
                {
                    size = Native.Size<Native.OpenOptions>(),
                    onnxruntime = onnxRuntime.Pointer,
                    provider = provider.Pointer,
                    precision = precision.Pointer,
                    threads = options.Threads
                };
                Status status = Native.tisdiss_open(path.Pointer, ref native, out handle);
                if (status != Status.Ok)
                {
                    throw new TisdissException(status, Native.tisdiss_error_text(IntPtr.Zero));
                }
            }
            var info = new Native.Info { size = Native.Size<Native.Info>() };
            Check(Native.tisdiss_get_info(handle, ref info));
            Info = new Info(info);
        }

        /// <summary>Version of the native library.</summary>
        public static string Version => Native.FromUtf8(Native.tisdiss_version());

        /// <summary>What the bundle is, and how it runs.</summary>
        public Info Info { get; }

        /// <summary>Plan and result of the last separation; null before the first.</summary>
        public Report Report { get; private set; }

        /// <summary>Separates a whole signal.</summary>
        /// <returns>For each voice, an array as long as the mixture.</returns>
        /// <exception cref="TisdissException">An impossible option, or sound that cannot be used.</exception>
        public float[][] Separate(float[] mix, RunOptions options = null)
        {
            mix = mix ?? throw new ArgumentNullException(nameof(mix));
            Native.RunOptions native = (options ?? new RunOptions()).ToNative();
            var report = new Native.Report { size = Native.Size<Native.Report>() };
            var flat = new float[checked(Info.Sources * mix.Length)];
            var samples = (UIntPtr)mix.Length;
            Check(Native.tisdiss_separate(handle, mix, samples, ref native, flat, samples, ref report));
            Report = new Report(report);
            return Native.Rows(flat, Info.Sources, mix.Length);
        }

        /// <summary>Opens a stream of a streaming bundle.</summary>
        /// <exception cref="TisdissException">An impossible option, or an offline bundle.</exception>
        public Stream OpenStream(RunOptions options = null)
        {
            Native.RunOptions native = (options ?? new RunOptions()).ToNative();
            Check(Native.tisdiss_stream_open(handle, ref native, out StreamHandle stream));
            return new Stream(stream, Info.Sources);
        }

        /// <summary>Frees the bundle; its streams keep working.</summary>
        public void Dispose() => handle.Dispose();

        private void Check(Status status)
        {
            if (status != Status.Ok)
            {
                var error = new TisdissException(status, Native.tisdiss_error_text(handle));
                GC.KeepAlive(handle); // whose text it was
                throw error;
            }
        }
    }
}
