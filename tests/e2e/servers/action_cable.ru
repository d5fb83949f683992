# Action Cable without Rails around it, on the subscription adapter that CABLE_URL names: rackup it with puma.
# Action Cable uses the whole of concurrent-ruby, and since 7.2 relies on others to have loaded it.
require "concurrent"
require "action_cable"
require "action_controller"
require "logger"
require "ostruct"

module ApplicationCable
  class Connection < ActionCable::Connection::Base
  end
end

class NewsChannel < ActionCable::Channel::Base
  def subscribed
    stream_from "news"
  end
end

class SecretChannel < ActionCable::Channel::Base
  def subscribed
    reject
  end
end

config = ActionCable::Server::Base.config
config.logger = Logger.new($stderr, level: Logger::WARN)
config.connection_class = -> { ApplicationCable::Connection }
config.disable_request_forgery_protection = true
config.cable = ENV["CABLE_URL"] ? { "adapter" => "redis", "url" => ENV["CABLE_URL"] } : { "adapter" => "async" }
run ActionCable.server
