// Separates a WAV file (16-bit mono at the bundle's sample rate) into one WAV file for each voice.
//
//     Separate BUNDLE TALK.wav [BUDGET_MS]      writes TALK_spk1.wav, TALK_spk2.wav, …
using System;
using System.Globalization;
using System.IO;
using System.Text;
using TisdissRt;

internal static class Separate
{
    private static int Main(string[] arguments)
    {
        if (arguments.Length < 2 || arguments.Length > 3)
        {
            Console.Error.WriteLine("usage: Separate BUNDLE TALK.wav [BUDGET_MS]");
            return 2;
        }
        try
        {
            var options = new RunOptions();
            if (arguments.Length == 3)
            {
                options.BudgetMs = double.Parse(arguments[2], CultureInfo.InvariantCulture);
            }
            using (var separator = new Separator(arguments[0]))
            {
                float[] mix = ReadWav(arguments[1], separator.Info.SampleRate);
                float[][] voices = separator.Separate(mix, options);
                Report report = separator.Report;
                Console.WriteLine($"{separator.Info.Name}: depth {report.PlannedDepth}, {report.Misses} of {report.Steps} over budget");
                for (int i = 0; i < voices.Length; i++)
                {
                    string target = Path.ChangeExtension(arguments[1], null) + $"_spk{i + 1}.wav";
                    WriteWav(target, voices[i], separator.Info.SampleRate);
                    Console.WriteLine(target);
                }
            }
            return 0;
        }
        catch (Exception error) when (error is TisdissException || error is IOException || error is FormatException)
        {
            Console.Error.WriteLine("error: " + error.Message);
            return 1;
        }
    }

    private static float[] ReadWav(string path, int sampleRate)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int format = FindChunk(bytes, "fmt "), data = FindChunk(bytes, "data");
        bool fits = format > 0 && data >= format + 16 && BitConverter.ToInt16(bytes, format) == 1
            && BitConverter.ToInt16(bytes, format + 2) == 1 && BitConverter.ToInt32(bytes, format + 4) == sampleRate
            && BitConverter.ToInt16(bytes, format + 14) == 16;
        if (!fits)
        {
            throw new FormatException($"{path} must be a 16-bit mono WAV file of {sampleRate} Hz: convert it");
        }
        long length = Math.Min(BitConverter.ToUInt32(bytes, data - 4), bytes.Length - data);
        var samples = new float[length / 2];
        for (int i = 0; i < samples.Length; i++)
        {
            samples[i] = BitConverter.ToInt16(bytes, data + 2 * i) / 32768f;
        }
        return samples;
    }

    /// <summary>Where the content of a chunk begins, after its name and its length; 0 if it is not there.</summary>
    private static int FindChunk(byte[] bytes, string name)
    {
        for (long at = 12; at + 8 <= bytes.Length;)
        {
            uint length = BitConverter.ToUInt32(bytes, (int)at + 4);
            bool whole = name == "data" || at + 8 + length <= bytes.Length;
            if (Encoding.ASCII.GetString(bytes, (int)at, 4) == name && whole)
            {
                return (int)at + 8;
            }
            at += 8 + length + length % 2;
        }
        return 0;
    }

    private static void WriteWav(string path, float[] samples, int sampleRate)
    {
        using (var writer = new BinaryWriter(File.Create(path)))
        {
            writer.Write(new[] { 'R', 'I', 'F', 'F' });
            writer.Write(36 + 2 * samples.Length);
            writer.Write(new[] { 'W', 'A', 'V', 'E', 'f', 'm', 't', ' ' });
            writer.Write(16);
            writer.Write((short)1); // integers
            writer.Write((short)1); // channel
            writer.Write(sampleRate);
            writer.Write(2 * sampleRate);
            writer.Write((short)2);
            writer.Write((short)16);
            writer.Write(new[] { 'd', 'a', 't', 'a' });
            writer.Write(2 * samples.Length);
            foreach (float sample in samples)
            {
                writer.Write((short)Math.Round(Math.Max(-32768f, Math.Min(32767f, 32768f * sample))));
            }
        }
    }
}
