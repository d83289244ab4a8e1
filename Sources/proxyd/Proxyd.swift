@main struct Proxyd { static func main() {} }
